"""Tasks: what a dataset is to the trainer, its training pairs and its metrics. The trainer knows no dataset's name."""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import Pairs, PairsConfig


@runtime_checkable
class SetScorer(Protocol):
    """Scores queries against sets of items, higher is better. A set of one item makes it a scorer of pairs."""

    def __call__(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        """Score, in each of B questions, every query against every set of S items."""
        ...


class CosineScoring(StrEnum):
    """How untrained features score a query and a set: by the cosine with the set's mean, or the mean cosine."""

    CLASS_MEAN = "class_mean"
    MEAN_COSINE = "mean_cosine"


class Task(ABC):
    """The training pairs of an epoch, and the metrics of a scorer on a split.

    objective is the metric that a study optimises, mode the way it gets better; questions are drawn from the seed.
    untrained is how the first baseline scores features.
    """

    objective: ClassVar[Objective]
    untrained: ClassVar[CosineScoring] = CosineScoring.CLASS_MEAN

    def __init__(self, featured: FeaturedItems, *, seed: int, train_on: tuple[Split, ...] = (Split.TRAIN,)) -> None:
        self.featured = featured
        self.seed = seed
        self.training_items: Int[np.ndarray, "n"] = featured.items_of(train_on)

    def normalisation_groups(self) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """What normalisation is fitted on: training items, and the group within which each varies, its class."""
        return self.training_items, self.featured.classes[self.training_items]

    @property
    def left_out(self) -> dict[str, int]:
        """How many questions of val and test are not asked, by reason: those that no scorer could answer."""
        return {}

    @abstractmethod
    def draw_steps(self, config: PairsConfig, generator: np.random.Generator) -> list[Pairs]:
        """Draw the training pairs of an epoch, step by step, as indices of items."""

    def split_edges(self, seed: int) -> tuple["Task", Int[np.ndarray, "2 L"]]:
        """For encoders that use a graph: half of the positives to learn from, the others as edges that carry messages.

        Gives the task that has the first half only, and the second half as pairs of items. Raises UserError where the
        task has no graph.
        """
        raise UserError(f"encoder graph: {type(self).__name__} has no graph; choose another encoder.")

    def edges_around(
        self, split: Split, queries: Int[np.ndarray, "Q"], sets: Int[np.ndarray, "C S"], *, context: int = 0
    ) -> Int[np.ndarray, "2 L"]:
        """The edges, as pairs of items, that a graph encoder may know of when one question is asked; here none.

        context is the encoder's graph_context, for tasks that know of edges beside the question.
        """
        return np.empty((2, 0), dtype=np.int64)

    @abstractmethod
    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Score the objective's questions of a split."""

    @abstractmethod
    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Score the questions of every metric that a final report shows, the objective's among them."""

    def scored_items(self, split: Split) -> Int[np.ndarray, "n"]:
        """Return the items, ascending, that a scorer is given by `evaluate` on a split."""
        is_scored = np.zeros(len(self.featured.classes), dtype=bool)

        def note(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
            is_scored[queries] = True
            is_scored[sets] = True
            return np.zeros((*queries.shape, sets.shape[1]), dtype=np.float32)

        self.evaluate(note, split)
        return np.flatnonzero(is_scored)


def score_rows(scorer: SetScorer, items: Int[np.ndarray, "n"]) -> SetScorer:
    """A scorer of these items, ascending, and of no others, made of a scorer of the n rows that stand for them."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return scorer(np.searchsorted(items, queries), np.searchsorted(items, sets))

    return score
