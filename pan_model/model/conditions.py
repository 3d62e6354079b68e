"""Similarity conditions: which of the M outputs are labelled by attributes, and the labels of a pair."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from pan_model.errors import UserError
from pan_model.model.gates import Gate, condition_targets
from pan_model.shapes import Bool, Int

UNSUPERVISED = "unsupervised_"
"""The prefix of the names of conditions without labels."""


class Supervision(StrEnum):
    """How many conditions are labelled: none, at most half of them, or as many as attributes allow."""

    UNSUPERVISED = "unsupervised"
    HYBRID = "hybrid"
    SUPERVISED = "supervised"


@dataclass(frozen=True, kw_only=True)
class ConditionsConfig:
    """The conditions of a model.

    Attributes:
        num_conditions: M, all outputs of the module.
        supervision: How many of them are labelled.
        gate: f_a, which labels a pair; set if, and only if, conditions are labelled.
        lambda_: The weight of their loss; set if, and only if, conditions are labelled.
    """

    num_conditions: int
    supervision: Supervision
    gate: Gate | None = None
    lambda_: float | None = None

    def __post_init__(self) -> None:
        if self.num_conditions < 1:
            raise UserError(f"num_conditions must be at least 1, got {self.num_conditions}.")
        labelled = self.supervision is not Supervision.UNSUPERVISED
        if labelled and (self.gate is None or self.lambda_ is None):
            raise UserError(f"supervision {self.supervision} needs a gate and a lambda.")
        if not labelled and (self.gate is not None or self.lambda_ is not None):
            raise UserError("supervision unsupervised has no labels: leave gate and lambda out.")
        if self.lambda_ is not None and not (math.isfinite(self.lambda_) and self.lambda_ >= 0):
            raise UserError(f"lambda must be a finite number of at least 0, got {self.lambda_}.")

    def num_labelled(self, num_attributes: int) -> int:
        """Count the labelled outputs K: supervised min(M, available), hybrid min(ceil(M / 2), available).

        AND_XOR has two outputs available for each attribute.

        >>> config = ConditionsConfig(num_conditions=5, supervision=Supervision.HYBRID, gate=Gate.OR, lambda_=1.0)
        >>> config.num_labelled(100), config.num_labelled(2)
        (3, 2)
        """
        if self.gate is None:
            return 0
        wanted = self.num_conditions if self.supervision is Supervision.SUPERVISED else -(-self.num_conditions // 2)
        return min(wanted, num_attributes * len(self.gate.parts))


@dataclass(frozen=True, kw_only=True)
class Followed:
    """The label that an unsupervised condition follows on pairs of training images.

    Attributes:
        attribute: The label, named as a labelled condition would be: "XNOR(has_wing_color::blue)".
        strength: The correlation of the condition's similarity with the label, above 0 and at most 1.
    """

    attribute: str
    strength: float


def rank_attributes(attributes: Bool[np.ndarray, "N A"], certain: Bool[np.ndarray, "N A"]) -> Int[np.ndarray, "R"]:
    """Order attributes by entropy (bits) among the items where they are certain, largest first, ties by index.

    Attributes that are never certain are excluded.

    >>> rank_attributes(np.array([[1, 1, 0], [1, 0, 0]], bool), np.array([[1, 1, 0], [1, 1, 0]], bool)).tolist()
    [1, 0]
    """
    count = certain.sum(axis=0)
    present = (attributes & certain).sum(axis=0)
    rarer = np.minimum(present, count - present)  # p and 1 - p are ties to the last bit
    probabilities = np.stack([rarer, count - rarer]) / np.maximum(count, 1)
    entropy = -(probabilities * np.log2(np.where(probabilities > 0, probabilities, 1))).sum(axis=0)
    order = np.argsort(-entropy, kind="stable")
    return order[count[order] > 0].astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditions:
    """The M conditions of a model: the first K are labelled, the rest are free.

    For AND_XOR the labelled conditions are [AND of every attribute, XOR of every attribute], truncated to K.

    Attributes:
        attribute_index: The attributes that label conditions.
        gate: f_a, None without labels.
        num_labelled: K.
        names: The names of all M conditions.
    """

    attribute_index: Int[Tensor, "A"]
    gate: Gate | None
    num_labelled: int
    names: tuple[str, ...]

    def targets(
        self,
        attributes: Bool[Tensor, "N A"],
        certain: Bool[Tensor, "N A"],
        index_1: Int[Tensor, "P"],
        index_2: Int[Tensor, "P"],
    ) -> tuple[Bool[Tensor, "P K"], Bool[Tensor, "P K"]]:
        """Label P pairs.

        Args:
            attributes: The items' attributes, with the columns of `attribute_index` only (see `columns`).
            certain: Whether each attribute of each item is certain, with the same columns.
            index_1: The first item of each pair.
            index_2: The second item of each pair.

        Returns:
            f_a of both items' attributes, and whether both are certain.
        """
        assert self.gate is not None, "unsupervised conditions have no targets"
        labels = condition_targets(attributes[index_1], attributes[index_2], self.gate)
        both_certain = (certain[index_1] & certain[index_2]).repeat(1, len(self.gate.parts))
        return labels[:, : self.num_labelled], both_certain[:, : self.num_labelled]

    def columns(self, table: Bool[np.ndarray, "N all"], device: torch.device) -> Bool[Tensor, "N A"]:
        """Copy the columns of `attribute_index` of an (N, all attributes) table to the device."""
        return torch.from_numpy(table[:, self.attribute_index.numpy()]).to(device)


def choose_conditions(
    config: ConditionsConfig,
    attributes: Bool[np.ndarray, "N A"],
    certain: Bool[np.ndarray, "N A"],
    attribute_names: tuple[str, ...],
) -> Conditions:
    """Choose which attributes label which conditions.

    Args:
        config: The number of conditions, their supervision and gate.
        attributes: The attributes of the training items.
        certain: Whether each of them is certain.
        attribute_names: The names of the A attributes.

    Raises:
        UserError: Conditions need labels, but no attribute is certain for any item.
    """
    ranked = rank_attributes(attributes, certain)
    num_labelled = config.num_labelled(len(ranked))
    if config.gate is not None and num_labelled == 0:
        raise UserError(f"supervision {config.supervision} needs attributes with certain labels; the dataset has none.")
    parts = config.gate.parts if config.gate else ()
    used = ranked[: -(-num_labelled // max(len(parts), 1))]
    labelled = [f"{part}({attribute_names[a]})" for part in parts for a in used][:num_labelled]
    free = [f"{UNSUPERVISED}{number}" for number in range(1, config.num_conditions - num_labelled + 1)]
    return Conditions(
        attribute_index=torch.from_numpy(used.copy()),
        gate=config.gate,
        num_labelled=num_labelled,
        names=(*labelled, *free),
    )
