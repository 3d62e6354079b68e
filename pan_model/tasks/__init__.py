"""Tasks: what a dataset is to the trainer, its training pairs and its metrics. The trainer knows no dataset's name."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.scoring.set_scorer import CosineScoring, SetScorer
from pan_model.shapes import Int
from pan_model.tasks.pairs import Pairs, PairsConfig


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
