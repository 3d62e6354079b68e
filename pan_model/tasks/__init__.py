"""Tasks: what a dataset is to the trainer, its training pairs and its metrics. The trainer knows no dataset's name."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np

from pan_model.data.featured import FeaturedItems
from pan_model.data.splits import Split
from pan_model.pairs import Pairs, PairsConfig
from pan_model.scoring import SetScorer
from pan_model.shapes import Float, Int

QuestionScores = dict[str, Float[np.ndarray, "_"]]
"""For each metric, one score a question; the metric's value is their mean."""


class Task(ABC):
    """The training pairs of an epoch, and the metrics of a scorer on a split.

    objective is the metric that a study optimises, mode the way it gets better; questions are drawn from the seed.
    """

    objective: ClassVar[str]
    mode: ClassVar[Literal["max", "min"]]

    def __init__(self, featured: FeaturedItems, *, seed: int, train_on: tuple[Split, ...] = (Split.TRAIN,)) -> None:
        self.featured = featured
        self.seed = seed
        self.training_items: Int[np.ndarray, "n"] = featured.items_of(train_on)

    @abstractmethod
    def draw_steps(self, config: PairsConfig, generator: np.random.Generator) -> list[Pairs]:
        """Draw the training pairs of an epoch, step by step, as indices of items."""

    @abstractmethod
    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Score the objective's questions of a split."""

    @abstractmethod
    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Score the questions of every metric that a final report shows, the objective's among them."""
