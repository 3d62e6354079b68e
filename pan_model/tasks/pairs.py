"""Training pairs: the items that are compared in an epoch, half of them of the same class or outfit."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import numpy as np

from pan_model.errors import UserError
from pan_model.shapes import Bool, Int


class PairSampling(StrEnum):
    """How an epoch's pairs are drawn.

    fixed: once for the trial, as in the paper. fresh: for every epoch, half of them positives. balanced: each step
    draws some classes and some images of each, and compares all of these.
    """

    FIXED = "fixed"
    FRESH = "fresh"
    BALANCED = "balanced"


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """The pairs of an epoch and their weights.

    Attributes:
        pairs: How pairs are drawn.
        pairs_per_epoch: The most pairs, positives and negatives, of an epoch; 0 for the paper's rule, half of all
            same-class pairs and one negative each.
        steps_per_epoch: The number of steps.
        classes_per_step: balanced: classes in a step.
        images_per_class: balanced: images of each class in a step.
        positive_weight: The weight of all positives together in a step's loss.
        hard_pair_share: The share of positives, and of negatives, with the largest losses that is trained on.
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
    """P pairs of items, and whether both are of the same class or outfit."""

    index_1: Int[np.ndarray, "P"]
    index_2: Int[np.ndarray, "P"]
    same: Bool[np.ndarray, "P"]


DrawNegatives = Callable[[int, np.random.Generator], Int[np.ndarray, "2 P"]]
"""Draw a number of pairs that are not positives."""


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
    """Draw pairs of positions with different classes, each equally likely.

    Raises:
        UserError: There is a single class.
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
    """Draw an epoch's pairs in random order: positives without repetition, and as many negatives.

    Args:
        positives: All T positives.
        negatives_of: Draws negatives.
        num_pairs: The most pairs to draw; 0 for half of all positives and as many negatives.
        generator: The source of random numbers.

    Raises:
        UserError: There are too few positives.
    """
    num_positives = positives.shape[1] // 2 if num_pairs == 0 else min(num_pairs // 2, positives.shape[1])
    if num_positives == 0:
        raise UserError(f"training needs more pairs of items of the same class or outfit, got {positives.shape[1]}.")
    chosen = positives[:, generator.choice(positives.shape[1], size=num_positives, replace=False)]
    negatives = negatives_of(num_positives, generator)
    index = np.concatenate([chosen, negatives], axis=1)
    same = np.arange(index.shape[1]) < num_positives
    index = generator.permuted(index, axis=0)  # an order-dependent joint must not exploit the order
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
    """Draw some classes and some items of each, and return pairs of these items in random order.

    Args:
        classes: The class of each of N items.
        classes_per_step: The number of classes to draw.
        images_per_class: The number of items of each class.
        num_pairs: The most pairs to return: up to half of them positives, the rest negatives.
        generator: The source of random numbers.
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
    """Split pairs at random into two halves, each in the original order; the first is larger if their number is odd.

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
    """Draw some classes and some items of each; all classes, or all items of a class, if there are fewer.

    Args:
        classes: The class of each of N items.
        classes_per_step: The number of classes to draw.
        images_per_class: The number of items of each class.
        generator: The source of random numbers.

    Returns:
        Positions in `classes`, class by class.
    """
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
    """Draw an epoch's pairs, one entry for each step; indices are positions in `classes`.

    There are fewer steps than `steps_per_epoch` if there are fewer pairs.

    Args:
        positives: All T positives.
        classes: The class of each of N items.
        config: How pairs are drawn, their number and the number of steps.
        generator: The source of random numbers.

    Raises:
        UserError: There are too few positives, or a single class.
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
    return split_into_steps(pairs, num_steps)


def split_into_steps(pairs: Pairs, num_steps: int) -> list[Pairs]:
    """Split pairs into steps of nearly equal size; fewer steps if there are fewer pairs than steps."""
    steps = zip(*(np.array_split(column, num_steps) for column in pairs), strict=True)
    return [Pairs(*step) for step in steps if len(step[0])]
