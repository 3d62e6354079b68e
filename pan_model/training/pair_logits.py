"""The logits of chunks of pairs under all conditions, and the gradients of what they are computed from.

Logits have the conditions as rows, (2M, C): similarities, then relevances. Sums over conditions and products with
values of pairs then run along memory.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.model.gathered_joint import PairDifference, joint_rows
from pan_model.model.similarity import ConditionSimilarity, Joint
from pan_model.shapes import Float, Int

FEW_LOGITS = 64
"""Logits up to which the product with the pairs as rows is faster, and their transposition costs little."""


class Operands:
    """What the logits of pairs are computed from, differentiable: rows of the items, weights and biases.

    Concat is separable, W [h1, h2] = Wa h1 + Wb h2: its rows are the logits of the items as the first of a pair, and
    then as the second, (2N, 2M), and there are no further weights. Dropout falls on the pairs' representations, which
    separation does not form.

    Attributes:
        joint: The joint representation.
        dropped: The share of its entries that is dropped.
        rows: The rows of N items, (N, E), or (2N, 2M).
        weight: The weights (2M, J); None if the rows are logits.
        bias: The biases (2M).
    """

    def __init__(self, similarity: ConditionSimilarity, embeddings: Float[Tensor, "N E"]) -> None:
        weight = torch.cat([similarity.similarity.weight, similarity.relevance.weight])
        self.joint = similarity.joint
        self.dropped = similarity.dropout.p if similarity.training else 0.0
        self.bias: Float[Tensor, "L"] = torch.cat([similarity.similarity.bias, similarity.relevance.bias])
        self.weight: Float[Tensor, "L J"] | None = None
        if self.joint is Joint.CONCAT and not self.dropped:
            halves = weight.split(embeddings.shape[1], dim=1)
            self.rows: Float[Tensor, "R W"] = torch.cat([F.linear(embeddings, half) for half in halves])
        else:
            self.weight = weight
            self.rows = joint_rows(embeddings, self.joint)

    @property
    def width(self) -> int:
        """The number of floats that a pair takes in a chunk."""
        return self.rows.shape[1] * (2 if self.joint is Joint.CONCAT and self.weight is not None else 1)

    def pair_logits(self, chunk_size: int, *, train_rows: bool) -> "PairLogits":
        """Return the logits of chunks of at most `chunk_size` pairs.

        Args:
            chunk_size: The most pairs of a chunk.
            train_rows: Whether the rows need a gradient.
        """
        if self.weight is None:
            return _LogitRows(self, chunk_size, train_rows)
        return _JointProducts(self, self.weight.detach(), chunk_size, train_rows)


class PairLogits(Protocol):
    """The logits of chunks of pairs. Gradients add up over chunks.

    Attributes:
        of_rows: The gradient of the rows; None if they need none.
        of_weight: The gradient of the weights; None if there are none.
        of_bias: The gradient of the biases.
    """

    of_rows: Float[Tensor, "R W"] | None
    of_weight: Float[Tensor, "L J"] | None
    of_bias: Float[Tensor, "L"]

    def forward(self, places: Int[Tensor, "C 2"], generator: torch.Generator, out: Float[Tensor, "L C"]) -> None:
        """Write the logits of a chunk to `out`."""
        ...

    def backward(self, places: Int[Tensor, "C 2"], gradient: Float[Tensor, "L C"]) -> None:
        """Add the gradients of the chunk that `forward` computed last, given that of its logits."""
        ...


class _LogitRows:
    """Sums of two rows of logits."""

    def __init__(self, operands: Operands, chunk_size: int, train_rows: bool) -> None:
        self._rows = operands.rows.detach()
        self._bias = operands.bias.detach()[:, None]
        self._as_second = torch.tensor([0, len(self._rows) // 2], device=self._rows.device)
        self._offsets = torch.arange(0, 2 * chunk_size, 2, device=self._rows.device)
        self.of_rows: Tensor | None = torch.zeros_like(self._rows) if train_rows else None
        self.of_weight: Tensor | None = None
        self.of_bias = torch.zeros_like(operands.bias)

    def forward(self, places: Tensor, generator: torch.Generator, out: Tensor) -> None:
        rows = (places + self._as_second).reshape(-1)
        torch.add(torch.embedding_bag(self._rows, rows, self._offsets[: len(places)])[0].t(), self._bias, out=out)

    def backward(self, places: Tensor, gradient: Tensor) -> None:
        self.of_bias += gradient.sum(dim=1)
        if self.of_rows is not None:
            of_pairs = gradient.t().contiguous()
            for column in (places + self._as_second).t().contiguous():
                self.of_rows.index_add_(0, column, of_pairs)


class _JointProducts:
    """Products of the weights and the pairs' joint representations."""

    def __init__(self, operands: Operands, weight: Tensor, chunk_size: int, train_rows: bool) -> None:
        self._joint, self._dropped = operands.joint, operands.dropped
        self._rows = operands.rows.detach()
        self._weight, self._bias = weight, operands.bias.detach()[:, None]
        self._transposed = weight.t().contiguous() if len(weight) <= FEW_LOGITS else weight
        self._difference = PairDifference(self._rows, chunk_size)
        self._first, self._second, self._represented, self._gradient = (
            self._rows.new_empty(chunk_size if needed else 0, weight.shape[1])
            for needed in (*[self._joint is Joint.PRODUCT] * 2, train_rows, train_rows)
        )
        self._chunk = self._mask = self._difference_of_chunk = self._represented
        self.of_rows: Tensor | None = torch.zeros_like(self._rows) if train_rows else None
        self._of_weight = torch.zeros_like(weight)
        self.of_weight: Tensor | None = self._of_weight
        self.of_bias = torch.zeros_like(operands.bias)

    def forward(self, places: Tensor, generator: torch.Generator, out: Tensor) -> None:
        self._chunk = self._represent(places)
        if self._dropped:
            self._mask = dropout_mask(self._chunk, self._dropped, generator)
            self._chunk = self._chunk.mul_(self._mask)
        if len(out) <= FEW_LOGITS:
            torch.add(torch.mm(self._chunk, self._transposed).t(), self._bias, out=out)
        else:
            torch.mm(self._weight, self._chunk.t(), out=out).add_(self._bias)

    def backward(self, places: Tensor, gradient: Tensor) -> None:
        self.of_bias += gradient.sum(dim=1)
        self._of_weight.addmm_(gradient, self._chunk)
        if self.of_rows is None:
            return
        of_chunk = torch.mm(gradient.t(), self._weight, out=self._gradient[: len(places)])
        if self._dropped:
            of_chunk.mul_(self._mask)
        first, second = places.t().contiguous()
        match self._joint:
            case Joint.ABSDIFF:
                of_chunk.mul_(self._difference_of_chunk.sgn_())
                self.of_rows.index_add_(0, first, of_chunk)
                self.of_rows.index_add_(0, second, of_chunk, alpha=-1)
            case Joint.PRODUCT:
                self.of_rows.index_add_(0, first, self._second[: len(places)].mul_(of_chunk))
                self.of_rows.index_add_(0, second, self._first[: len(places)].mul_(of_chunk))
            case Joint.CONCAT:
                self.of_rows.index_add_(0, places.reshape(-1), of_chunk.view(2 * len(places), -1))

    def _represent(self, places: Tensor) -> Tensor:
        """Return the joint representations of a chunk, and keep what their gradient needs."""
        represented = self._represented[: len(places)]
        match self._joint:
            case Joint.ABSDIFF:
                difference = self._difference(places)
                if self.of_rows is None:
                    return difference.abs_()
                self._difference_of_chunk = difference
                return torch.abs(difference, out=represented)
            case Joint.PRODUCT:
                first, second = (
                    torch.index_select(self._rows, 0, column, out=buffer[: len(places)])
                    for column, buffer in zip(places.t().contiguous(), (self._first, self._second), strict=True)
                )
                return first.mul_(second) if self.of_rows is None else torch.mul(first, second, out=represented)
            case Joint.CONCAT:
                return self._rows.index_select(0, places.reshape(-1)).view(len(places), -1)


def dropout_mask(like: Float[Tensor, "C J"], share: float, generator: torch.Generator) -> Float[Tensor, "C J"]:
    """Return factors that drop a share of entries and scale the others, so that the mean factor is 1.

    Four entries share 64 random bits, which takes less than half the time of a random number for each entry. The share
    is rounded to a multiple of 1 / 65536, and the others are scaled accordingly.
    """
    num_dropped = min(round(share * 2**16), 2**16 - 1)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device)
    drawn = words.random_(-(2**63), None, generator=generator).view(torch.int16)[: like.numel()].view(like.shape)
    return drawn.ge(num_dropped - 2**15).to(like.dtype).mul_(2**16 / (2**16 - num_dropped))
