"""The base of tasks whose positives are pairs of the same class."""

from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import TypeVar

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, ValQuestions
from pan_model.errors import UserError
from pan_model.model.graph import unique_edges
from pan_model.shapes import Int
from pan_model.tasks.pairs import Pairs, PairsConfig, draw_steps, halve_pairs, same_class_pairs
from pan_model.tasks.task import Task

EDGES_PURPOSE = 4
"""Key that separates the random numbers of `split_edges` from others of the same seed."""

HOLD_OUT_PURPOSE = 7
"""The same for `hold_out`."""


class SameClassTask(Task):
    """A task that trains on pairs of the same class and pairs of two classes. Subclasses define its metrics.

    In its graph, items of the same class are neighbours: training items (PAN's graph baseline on CUB), and in a
    question the items of each set.
    """

    def __init__(
        self,
        featured: FeaturedItems,
        *,
        seed: int,
        train_on: tuple[Split, ...] = (Split.TRAIN,),
        val_questions: ValQuestions = ValQuestions.REDUCED,
    ) -> None:
        super().__init__(featured, seed=seed, train_on=train_on, val_questions=val_questions)
        self._training_classes = featured.classes[self.training_items]
        self._positives = same_class_pairs(self._training_classes)
        self._paper_num_pairs = 0

    def draw_steps(self, config: PairsConfig, generator: np.random.Generator) -> list[Pairs]:
        """Draw pairs of the same class and of two classes, see `pan_model.tasks.pairs.draw_steps`."""
        if not config.pairs_per_epoch:
            config = replace(config, pairs_per_epoch=self._paper_num_pairs)
        steps = draw_steps(self._positives, self._training_classes, config, generator)
        return [
            Pairs(self.training_items[step.index_1], self.training_items[step.index_2], step.same) for step in steps
        ]

    def split_edges(self, seed: int) -> tuple["SameClassTask", Int[np.ndarray, "2 L"]]:
        """Split the same-class pairs into positives to train on and edges.

        By the paper's rule an epoch uses all of these positives, which are half of all same-class pairs.
        """
        learning = copy(self)
        learning._positives, edges = halve_pairs(self._positives, np.random.default_rng([seed, EDGES_PURPOSE]))
        learning._paper_num_pairs = 2 * learning._positives.shape[1]
        return learning, self.training_items[edges]

    def edges_around(
        self, split: Split, queries: Int[np.ndarray, "Q"], sets: Int[np.ndarray, "C S"], *, context: int = 0
    ) -> Int[np.ndarray, "2 L"]:
        """Return all pairs within each set. Queries have no neighbours; `context` is not used."""
        first, second = np.triu_indices(sets.shape[1], k=1)
        return unique_edges(np.stack([sets[:, first].ravel(), sets[:, second].ravel()]))


SameClass = TypeVar("SameClass", bound=SameClassTask)


def with_other_val(task: SameClass, seed: int, part: int, *, keep_classes: bool) -> SameClass:
    """Return a task on train and val with other classes held out as val, see `hold_out`.

    The classes of val stay where the others allow no question. Each part has questions of its own in any case. The
    arguments are those of `Task.with_fresh_val`.
    """
    featured, kind = task.featured, type(task)
    if not keep_classes:
        others = replace(featured, splits=hold_out(featured, seed, part))
        with suppress(UserError):
            return kind(others, seed=seed + part, val_questions=task.val_questions)
    return kind(featured, seed=seed + part, val_questions=task.val_questions)


def hold_out(featured: FeaturedItems, seed: int, part: int) -> dict[Split, Int[np.ndarray, "_"]]:
    """Return splits with as many classes of train and val as val has held out as val, and the others as train.

    The classes are shuffled by the seed, and `part` 0 has the first ones, 1 the next, and so on; after the last class
    they begin again.

    Args:
        featured: The items.
        seed: The seed of the shuffle.
        part: The number of the part, from 0.
    """
    items = featured.items_of((Split.TRAIN, Split.VAL))
    classes = np.random.default_rng([seed, HOLD_OUT_PURPOSE]).permutation(np.unique(featured.classes[items]))
    num_held = len(np.unique(featured.classes[featured.splits[Split.VAL]]))
    held = classes[np.arange(part * num_held, (part + 1) * num_held) % len(classes)]
    is_held = np.isin(featured.classes[items], held)
    return {**featured.splits, Split.TRAIN: items[~is_held], Split.VAL: items[is_held]}
