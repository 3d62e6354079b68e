"""Labels of pairs under the labelled conditions, from one byte for each attribute of an item.

`Conditions.targets` is the straight form of the same.
"""

from copy import copy

import torch
from torch import Tensor

from pan_model.model.conditions import Conditions
from pan_model.model.gates import Gate, elementary_gate
from pan_model.shapes import Bool, Int, UInt8

PRESENT, UNCERTAIN = 1, 4
"""The bits of an attribute's byte. Gates are bit operations; eight attributes are computed at a time."""

ONES = 0x0101010101010101
"""Repeats a bit in the bytes of eight attributes."""


class PairLabels:
    """The labels of pairs of items under K conditions.

    Attributes:
        num_labelled: K.
    """

    def __init__(self, words: Int[Tensor, "N W"], gate: Gate, num_attributes: int, num_labelled: int) -> None:
        self._words = words
        self._gate = gate
        self._num_attributes = num_attributes
        self.num_labelled = num_labelled
        self._all_certain = not bool((words & (ONES * UNCERTAIN)).any())

    @classmethod
    def of(
        cls, conditions: Conditions, attributes: Bool[Tensor, "N A"], certain: Bool[Tensor, "N A"]
    ) -> "PairLabels | None":
        """Encode the attributes of N items, with the columns of `Conditions.columns`; None if no condition has labels.

        Args:
            conditions: The conditions of the model.
            attributes: The attributes of the items.
            certain: Whether each of them is certain.
        """
        if conditions.gate is None or conditions.num_labelled == 0:
            return None
        num_items, num_attributes = attributes.shape
        codes = torch.zeros(num_items, -(-num_attributes // 8) * 8, dtype=torch.uint8, device=attributes.device)
        codes[:, :num_attributes] = attributes * PRESENT + ~certain * UNCERTAIN
        return cls(codes.view(torch.int64), conditions.gate, num_attributes, conditions.num_labelled)

    def of_items(self, items: Int[Tensor, "n"]) -> "PairLabels":
        """Return the labels of pairs of some of the items, which are then given by their places in `items`."""
        chosen = copy(self)
        chosen._words = self._words.index_select(0, items)
        return chosen

    def __call__(
        self, pairs: Int[Tensor, "P 2"], same: Bool[Tensor, "P"] | None = None
    ) -> tuple[UInt8[Tensor, "K P"], UInt8[Tensor, "K P"] | None]:
        """Label a chunk of pairs, 1 or 0.

        Args:
            pairs: The items of each pair.
            same: If it is given, the labels of pairs that are not `same` are inverted.

        Returns:
            f_a of both items' attributes, undefined where either is uncertain, and whether both are certain; None for
            the latter if all attributes of all items are certain.
        """
        first, second = (self._words.index_select(0, column) for column in pairs.t().contiguous())
        inverted = None if same is None else (~same).to(torch.int64).mul_(ONES * PRESENT)[:, None]
        uncertain = None if self._all_certain else (first | second).bitwise_and_(ONES * UNCERTAIN)
        parts: list[Tensor] = []
        for gate in self._gate.parts:
            words = elementary_gate(first, second, gate).bitwise_and_(ONES * PRESENT)
            if inverted is not None:
                words.bitwise_xor_(inverted)
            if uncertain is not None:
                words.bitwise_or_(uncertain)
            parts.append(self._of_attributes(words))
        codes = parts[0] if len(parts) == 1 else torch.cat(parts)
        codes = codes[: self.num_labelled]
        if self._all_certain:
            return codes, None
        # Comparisons are slower than shifts: their result is bool.
        return codes & PRESENT, codes.bitwise_right_shift(2).bitwise_xor_(1)

    def _of_attributes(self, words: Int[Tensor, "P W"]) -> UInt8[Tensor, "A P"]:
        """Return the bytes of words, with the attributes as rows."""
        codes = words.view(torch.uint8)
        rows = torch.empty(codes.shape[1], len(codes), dtype=torch.uint8, device=codes.device)
        return rows.copy_(codes.t())[: self._num_attributes]
