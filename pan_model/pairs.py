"""Training pairs: which items are compared in an epoch, half of them of one class."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from pan_model.errors import BadInput
from pan_model.shapes import Bool, Int


class PairSampling(StrEnum):
    """fixed: drawn once for the whole trial (the paper's way); fresh: drawn anew for every epoch."""

    FIXED = "fixed"
    FRESH = "fresh"


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """How many pairs make an epoch, and how many a step.

    pairs_per_epoch counts positives and negatives together; 0 stands for the paper's rule, half of all same-class pairs
    and one negative each. batch_size counts the pairs of an optimiser step; 0 stands for all of the epoch's.
    """

    pairs: PairSampling = PairSampling.FRESH
    pairs_per_epoch: int = 8192
    batch_size: int = 512

    def __post_init__(self) -> None:
        if self.pairs_per_epoch < 0 or self.pairs_per_epoch == 1:
            raise BadInput(f"pairs_per_epoch must be 0 (the paper's rule) or at least 2, got {self.pairs_per_epoch}.")
        if self.batch_size < 0:
            raise BadInput(f"batch_size must be 0 (full batch) or more, got {self.batch_size}.")


class Pairs(NamedTuple):
    """P pairs of items, and whether both are of the same class."""

    index_1: Int[np.ndarray, "P"]
    index_2: Int[np.ndarray, "P"]
    same: Bool[np.ndarray, "P"]


def same_class_pairs(classes: Int[np.ndarray, "N"]) -> Int[np.ndarray, "2 T"]:
    """List every unordered pair of positions with the same class.

    >>> same_class_pairs(np.array([7, 8, 7, 7])).tolist()
    [[0, 0, 2], [2, 3, 3]]
    """
    groups = [np.flatnonzero(classes == label) for label in np.unique(classes)]
    corners = [np.triu_indices(len(group), k=1) for group in groups]
    pairs = [np.stack([group[first], group[second]]) for group, (first, second) in zip(groups, corners, strict=True)]
    return np.concatenate([np.empty((2, 0), dtype=np.int64), *pairs], axis=1)


def draw_negatives(
    classes: Int[np.ndarray, "N"], num_pairs: int, generator: np.random.Generator
) -> Int[np.ndarray, "2 P"]:
    """Draw pairs of positions with different classes, each such pair equally likely.

    Raises BadInput when there is one class only.
    """
    if len(np.unique(classes)) < 2:
        raise BadInput("training needs items of at least 2 classes.")
    drawn = np.empty((2, 0), dtype=np.int64)
    while drawn.shape[1] < num_pairs:
        more = generator.integers(len(classes), size=(2, 2 * (num_pairs - drawn.shape[1]) + 16))
        drawn = np.concatenate([drawn, more[:, classes[more[0]] != classes[more[1]]]], axis=1)
    return drawn[:, :num_pairs]


def draw_pairs(
    positives: Int[np.ndarray, "2 T"],
    classes: Int[np.ndarray, "N"],
    num_pairs: int,
    generator: np.random.Generator,
) -> Pairs:
    """Draw an epoch's pairs, shuffled, in either order: positives without repetition, and as many negatives.

    num_pairs 0 takes half of all positives; more than there are takes them all. Indices are positions in `classes`.
    """
    num_positives = positives.shape[1] // 2 if num_pairs == 0 else min(num_pairs // 2, positives.shape[1])
    if num_positives == 0:
        raise BadInput("training needs at least 2 pairs of items of the same class.")
    chosen = positives[:, generator.choice(positives.shape[1], size=num_positives, replace=False)]
    negatives = draw_negatives(classes, num_positives, generator)
    index = np.concatenate([chosen, negatives], axis=1)
    same = np.arange(index.shape[1]) < num_positives
    index = generator.permuted(index, axis=0)  # a joint that depends on the order must not learn from it
    order = generator.permutation(index.shape[1])
    return Pairs(index[0, order], index[1, order], same[order])
