"""The task interface: the training pairs and metrics of a dataset. The trainer depends on it, not on datasets."""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, ValQuestions
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import Pairs, PairsConfig
from pan_model.tasks.ranking import SCORES_BATCH_SIZE, GalleryRanker, Ranking, best_scored


@runtime_checkable
class SetScorer(Protocol):
    """Scores queries against sets of items; higher is better. With sets of one item it scores pairs.

    It may also be a `pan_model.tasks.ranking.GalleryRanker`.
    """

    def __call__(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        """Score every query against every set of S items, in each of B questions."""
        ...


class CosineScoring(StrEnum):
    """How features without a model score a query and a set: cosine with the set's mean, or mean cosine."""

    CLASS_MEAN = "class_mean"
    MEAN_COSINE = "mean_cosine"


class Task(ABC):
    """The training pairs of an epoch, and the metrics of a scorer on a split.

    Attributes:
        objective: The metric that a study optimises.
        untrained: How the first baseline scores features.
        featured: The items with their features and splits.
        seed: The seed from which questions are drawn.
        val_questions: Which questions are asked on val, if the task has a choice.
        training_items: The indices of the training items.
    """

    objective: ClassVar[Objective]
    untrained: ClassVar[CosineScoring] = CosineScoring.CLASS_MEAN

    def __init__(
        self,
        featured: FeaturedItems,
        *,
        seed: int,
        train_on: tuple[Split, ...] = (Split.TRAIN,),
        val_questions: ValQuestions = ValQuestions.REDUCED,
    ) -> None:
        self.featured = featured
        self.seed = seed
        self.val_questions = val_questions
        self.training_items: Int[np.ndarray, "n"] = featured.items_of(train_on)
        self._scored: dict[Split, Int[np.ndarray, "n"]] = {}

    def normalisation_groups(self) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Return the items that normalisation is fitted on, and their groups, by default their classes."""
        return self.training_items, self.featured.classes[self.training_items]

    @property
    def left_out(self) -> dict[str, int]:
        """The number of val and test questions that are left out because no scorer could answer them, by reason."""
        return {}

    @abstractmethod
    def with_fresh_val(self, seed: int, part: int, *, keep_classes: bool = False) -> "Task":
        """Return a task on train and val whose questions on val are others.

        They confirm a value that was chosen among many on the questions of val. They are asked once, so they may be
        more. Where items have classes, other classes are held out as val, and the rest is trained on. Other splits may
        have other questions, too.

        Args:
            seed: The seed from which classes are held out and questions are drawn.
            part: The number of the fresh val, from 0. The first parts of a seed share no class.
            keep_classes: Whether train and val keep their classes, as they must if features were trained on train.
        """

    @abstractmethod
    def draw_steps(self, config: PairsConfig, generator: np.random.Generator) -> list[Pairs]:
        """Draw the training pairs of an epoch as indices of items, one entry for each step."""

    def split_edges(self, seed: int) -> tuple["Task", Int[np.ndarray, "2 L"]]:
        """Split the positives for an encoder that uses a graph.

        Returns:
            A task with half of the positives to train on, and the other half as edges, pairs of items.

        Raises:
            UserError: The task has no graph.
        """
        raise UserError(f"encoder graph: {type(self).__name__} has no graph; choose another encoder.")

    def edges_around(
        self, split: Split, queries: Int[np.ndarray, "Q"], sets: Int[np.ndarray, "C S"], *, context: int = 0
    ) -> Int[np.ndarray, "2 L"]:
        """Return the edges that a graph encoder may use for one question; none by default.

        Args:
            split: The split of the question.
            queries: The queries.
            sets: The sets that they are compared with.
            context: The encoder's graph_context: the most edges for each item of a set.

        Returns:
            Edges as pairs of items.
        """
        return np.empty((2, 0), dtype=np.int64)

    @abstractmethod
    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Score the objective's questions on a split."""

    @abstractmethod
    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Score the questions of all metrics of a final report, the objective included."""

    def scored_items(self, split: Split) -> Int[np.ndarray, "n"]:
        """Return the items, ascending, that a scorer is given by `evaluate` on a split."""
        if split not in self._scored:
            is_scored = np.zeros(len(self.featured.classes), dtype=bool)

            def note(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
                is_scored[queries] = True
                is_scored[sets] = True
                return np.zeros((*queries.shape, sets.shape[1]), dtype=np.float32)

            self.evaluate(note, split)
            self._scored[split] = np.flatnonzero(is_scored)
        return self._scored[split]


def rank_gallery(scorer: SetScorer, queries: Int[np.ndarray, "Q"], gallery: Int[np.ndarray, "G"], k: int) -> Ranking:
    """Return the k best-scored gallery items of each query; fewer if the gallery is smaller.

    A scorer that cannot rank is asked for the scores of batches of queries against the whole gallery.
    """
    k = min(k, len(gallery))
    if isinstance(scorer, GalleryRanker):
        return scorer.rank(queries, gallery, k)
    size = max(1, SCORES_BATCH_SIZE // len(gallery))
    rankings: list[Ranking] = []
    for start in range(0, len(queries), size):
        batch = queries[start : start + size]
        scores = scorer(batch[None], gallery[None, :, None])[0]
        others = np.where(batch[:, None] == gallery, -np.inf, scores).astype(scores.dtype)
        _, columns, unknown = best_scored(torch.from_numpy(others), k)
        rankings.append(Ranking(columns.numpy(), unknown.numpy() | np.isnan(scores).any(axis=1)))
    return Ranking.joined(rankings)


def score_rows(scorer: SetScorer, items: Int[np.ndarray, "n"]) -> SetScorer:
    """Turn a scorer of n rows into a scorer of the items, ascending, that these rows represent."""
    return _RowScorer(scorer, items)


class _RowScorer:
    def __init__(self, scorer: SetScorer, items: Int[np.ndarray, "n"]) -> None:
        self._scorer = scorer
        self._items = items

    def __call__(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return self._scorer(np.searchsorted(self._items, queries), np.searchsorted(self._items, sets))

    def rank(self, queries: Int[np.ndarray, "Q"], gallery: Int[np.ndarray, "G"], k: int) -> Ranking:
        rows_of = np.searchsorted(self._items, queries), np.searchsorted(self._items, gallery)
        return rank_gallery(self._scorer, *rows_of, k)
