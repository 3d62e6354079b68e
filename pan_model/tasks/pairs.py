"""Training pairs: which items are compared in an epoch, half of them of one class, or of one outfit."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import numpy as np

from pan_model.errors import UserError
from pan_model.shapes import Bool, Int


class PairSampling(StrEnum):
    """Which pairs an epoch has.

    fixed: drawn once for the whole trial (the paper's way); fresh: drawn anew for every epoch, half of them positives;
    balanced: each step draws some classes and some images of each, and compares them with one another.
    """

    FIXED = "fixed"
    FRESH = "fresh"
    BALANCED = "balanced"


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """How many pairs make an epoch, in how many steps, and how much each of them counts.

    pairs_per_epoch counts positives and negatives together and is never exceeded; 0 stands for the paper's rule, half
    of all same-class pairs and one negative each. A balanced step compares the images of classes_per_step classes,
    images_per_class of each (fewer where there are fewer), among which there may be fewer pairs. Positives make up
    positive_weight of a step's loss, however many they are; of positives and of negatives the hardest hard_pair_share
    is learned from.
    """

    pairs: PairSampling = PairSampling.FRESH
    pairs_per_epoch: int = 8192
    steps_per_epoch: int = 16
    classes_per_step: int | None = None
    images_per_class: int | None = None
    positive_weight: float = 0.5
    hard_pair_share: float = 1.0

    def __post_init__(self) -> None:
        balanced = self.pairs is PairSampling.BALANCED
        if self.pairs_per_epoch < 0 or self.pairs_per_epoch == 1:
            raise UserError(f"pairs_per_epoch must be 0 (the paper's rule) or at least 2, got {self.pairs_per_epoch}.")
        if balanced and self.pairs_per_epoch == 0:
            raise UserError("pairs_per_epoch must be at least 2 when pairs are balanced, got 0.")
        if self.steps_per_epoch < 1:
            raise UserError(f"steps_per_epoch must be at least 1, got {self.steps_per_epoch}.")
        for name in ("classes_per_step", "images_per_class"):
            value = getattr(self, name)
            if balanced != (value is not None):
                raise UserError(
                    f"{name} must be given when, and only when, pairs are balanced; pairs is {self.pairs}, got {value}."
                )
            if value is not None and value < 2:
                raise UserError(f"{name} must be at least 2, got {value}.")
        if not 0 < self.positive_weight < 1:
            raise UserError(f"positive_weight must lie between 0 and 1, got {self.positive_weight}.")
        if not 0 < self.hard_pair_share <= 1:
            raise UserError(f"hard_pair_share must lie in (0, 1], got {self.hard_pair_share}.")


class Pairs(NamedTuple):
    """P pairs of items, and whether both are of the same class, or go together."""

    index_1: Int[np.ndarray, "P"]
    index_2: Int[np.ndarray, "P"]
    same: Bool[np.ndarray, "P"]


DrawNegatives = Callable[[int, np.random.Generator], Int[np.ndarray, "2 P"]]
"""Draws so many pairs that are no positives."""


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

    Raises UserError when there is one class only.
    """
    if len(np.unique(classes)) < 2:
        raise UserError("training needs items of at least 2 classes.")
    drawn = np.empty((2, 0), dtype=np.int64)
    while drawn.shape[1] < num_pairs:
        more = generator.integers(len(classes), size=(2, 2 * (num_pairs - drawn.shape[1]) + 16))
        drawn = np.concatenate([drawn, more[:, classes[more[0]] != classes[more[1]]]], axis=1)
    return drawn[:, :num_pairs]


def draw_pairs(
    positives: Int[np.ndarray, "2 T"],
    negatives_of: DrawNegatives,
    num_pairs: int,
    generator: np.random.Generator,
) -> Pairs:
    """Draw an epoch's pairs, shuffled, in either order: positives without repetition, and as many negatives.

    num_pairs 0 takes half of all positives; more than there are takes them all.
    """
    num_positives = positives.shape[1] // 2 if num_pairs == 0 else min(num_pairs // 2, positives.shape[1])
    if num_positives == 0:
        raise UserError(f"training needs more pairs of items of the same class or outfit, got {positives.shape[1]}.")
    chosen = positives[:, generator.choice(positives.shape[1], size=num_positives, replace=False)]
    negatives = negatives_of(num_positives, generator)
    index = np.concatenate([chosen, negatives], axis=1)
    same = np.arange(index.shape[1]) < num_positives
    index = generator.permuted(index, axis=0)  # a joint that depends on the order must not learn from it
    order = generator.permutation(index.shape[1])
    return Pairs(index[0, order], index[1, order], same[order])


def draw_balanced_pairs(
    classes: Int[np.ndarray, "N"],
    *,
    classes_per_step: int,
    images_per_class: int,
    num_pairs: int,
    generator: np.random.Generator,
) -> Pairs:
    """Draw some classes, some items of each, and compare these with one another, in either order.

    Of more than num_pairs comparisons, positives are kept first, up to half of num_pairs; the rest are any negatives.
    Where there are fewer classes, or a class has fewer items, there are fewer.
    """
    items = draw_balanced_items(
        classes, classes_per_step=classes_per_step, images_per_class=images_per_class, generator=generator
    )
    index = generator.permuted(items[np.stack(np.triu_indices(len(items), k=1))], axis=0)
    index = index[:, generator.permutation(index.shape[1])]
    same = classes[index[0]] == classes[index[1]]
    positives = np.flatnonzero(same)[: num_pairs // 2]
    negatives = np.flatnonzero(~same)[: num_pairs - len(positives)]
    kept = generator.permutation(np.concatenate([positives, negatives]))
    return Pairs(index[0, kept], index[1, kept], same[kept])


def halve_pairs(
    pairs: Int[np.ndarray, "2 P"], generator: np.random.Generator
) -> tuple[Int[np.ndarray, "2 K"], Int[np.ndarray, "2 L"]]:
    """Part pairs at random into two halves, each in the order of the pairs; the first has the odd one.

    >>> halve_pairs(np.array([[0, 0, 1], [1, 2, 2]]), np.random.default_rng(0))[0].shape
    (2, 2)
    """
    order = generator.permutation(pairs.shape[1])
    half = pairs.shape[1] // 2
    return pairs[:, np.sort(order[half:])], pairs[:, np.sort(order[:half])]


def draw_balanced_items(
    classes: Int[np.ndarray, "N"],
    *,
    classes_per_step: int,
    images_per_class: int,
    generator: np.random.Generator,
) -> Int[np.ndarray, "B"]:
    """Draw some classes and some items of each; fewer where there are fewer classes, or a class has fewer items."""
    labels = np.unique(classes)
    chosen = generator.choice(labels, size=min(classes_per_step, len(labels)), replace=False)
    return np.concatenate(
        [generator.permutation(np.flatnonzero(classes == label))[:images_per_class] for label in chosen]
    )


def draw_steps(
    positives: Int[np.ndarray, "2 T"],
    classes: Int[np.ndarray, "N"],
    config: PairsConfig,
    generator: np.random.Generator,
) -> list[Pairs]:
    """Draw an epoch's pairs, a step's after another's; indices are positions in `classes`.

    There are fewer steps than asked for when there are fewer pairs than steps.
    """
    num_steps = config.steps_per_epoch
    if config.pairs is PairSampling.BALANCED:
        assert config.classes_per_step is not None
        assert config.images_per_class is not None
        return [
            draw_balanced_pairs(
                classes,
                classes_per_step=config.classes_per_step,
                images_per_class=config.images_per_class,
                num_pairs=max(1, config.pairs_per_epoch // num_steps),
                generator=generator,
            )
            for _ in range(min(num_steps, config.pairs_per_epoch))
        ]
    pairs = draw_pairs(positives, partial(draw_negatives, classes), config.pairs_per_epoch, generator)
    return cut_into_steps(pairs, num_steps)


def cut_into_steps(pairs: Pairs, num_steps: int) -> list[Pairs]:
    """Cut pairs into steps of nearly the same size; there are fewer steps when there are fewer pairs than steps."""
    pieces = zip(*(np.array_split(part, num_steps) for part in pairs), strict=True)
    return [Pairs(*piece) for piece in pieces if len(piece[0])]
