"""The few-shot task: trains on same-class pairs; metrics are 5-way 5-shot episodes and recall (CUB, demo)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, ValQuestions
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.shapes import Bool, Float, Int
from pan_model.tasks.balanced_episodes import NUM_IMAGES, draw_questions, leave_one_out
from pan_model.tasks.metrics import episode_accuracy, match_ranks, recall_of_ranks
from pan_model.tasks.same_class import SameClassTask, with_other_val
from pan_model.tasks.task import SetScorer, rank_gallery

NUM_WAYS = 5
NUM_SUPPORT = 5
NUM_QUERIES = 16

NUM_EPISODES = {Split.TRAIN: 10, Split.VAL: 100, Split.TEST: 600}
"""Random episodes of each split: the paper's numbers, fewer on train, which only shows overfitting."""

NUM_BALANCED = {Split.TRAIN: 20, Split.VAL: 120}
"""Balanced questions, each of 6 episodes with one query of each class."""

FRESH_FACTOR = 5
"""How many times as many questions val has after `FewShotTask.with_fresh_val`."""

RECALL_AT = (1, 2, 4, 8)
EPISODES_PURPOSE = 2
"""Separates the random numbers of episodes from those of pairs drawn from the same seed."""

BALANCED_PURPOSE = 5
"""The same for balanced questions."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Episodes:
    """B episodes of C = 5 classes. A random class with fewer than 21 items has fewer queries; its slots are padded.

    Attributes:
        support: The support items of each class.
        queries: The query items; padded slots hold an arbitrary item.
        answers: The class of each query, 0 to 4.
        asked: Which slots hold a query.
        weights: How much each query counts in the accuracy of its episode; None if all that are asked count equally.
        per_question: The number of episodes, one after another, whose mean accuracy is the score of a question.
    """

    support: Int[np.ndarray, "B C S"]
    queries: Int[np.ndarray, "B Q"]
    answers: Int[np.ndarray, "B Q"]
    asked: Bool[np.ndarray, "B Q"]
    weights: Float[np.ndarray, "B Q"] | None = None
    per_question: int = 1


def eligible_classes(items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "n"]) -> list[Int[np.ndarray, "_"]]:
    """Return the items of each class that has enough for an episode: 5 support items and at least 1 query.

    Raises:
        UserError: There are fewer than 5 such classes.
    """
    groups = [items[classes == label] for label in np.unique(classes)]
    groups = [group for group in groups if len(group) > NUM_SUPPORT]
    if len(groups) < NUM_WAYS:
        raise UserError(
            f"{NUM_WAYS}-way episodes need {NUM_WAYS} classes with at least {NUM_SUPPORT + 1} images, "
            f"got {len(groups)}; add classes or images."
        )
    return groups


def draw_episodes(
    items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "n"], num_episodes: int, generator: np.random.Generator
) -> Episodes:
    """Draw episodes. Classes with fewer than 6 items are left out.

    Args:
        items: The item indices, shape (n,).
        classes: The class of each of these items, shape (n,).
        num_episodes: B, the number of episodes.
        generator: The source of random numbers.

    Raises:
        UserError: There are fewer than 5 classes with 6 items.
    """
    groups = eligible_classes(items, classes)
    drawn = [_draw_episode(groups, generator) for _ in range(num_episodes)]
    places = NUM_WAYS * NUM_QUERIES
    queries = np.stack([episode[:, NUM_SUPPORT:].reshape(places) for episode in drawn])
    asked = queries >= 0
    answers = np.broadcast_to(np.repeat(np.arange(NUM_WAYS), NUM_QUERIES), queries.shape)
    return Episodes(
        support=np.stack([episode[:, :NUM_SUPPORT] for episode in drawn]),
        queries=np.where(asked, queries, items[0]),
        answers=answers.copy(),
        asked=asked,
    )


def draw_balanced_episodes(
    items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "n"], num_questions: int, generator: np.random.Generator
) -> Episodes:
    """Draw the episodes of balanced questions, see `pan_model.tasks.balanced_episodes`; 6 episodes for each.

    A query counts as much as its class does in a random episode, where classes with fewer than 21 items have fewer
    queries. The mean accuracy is then that of random episodes.

    Args:
        items: The item indices, ascending, shape (n,). Classes with fewer than 6 items are left out.
        classes: The class of each of these items, shape (n,).
        num_questions: The number of questions.
        generator: The source of random numbers.

    Raises:
        UserError: There are fewer than 5 classes with 6 items.
    """
    support, queries = leave_one_out(draw_questions(eligible_classes(items, classes), num_questions, generator))
    answers = np.broadcast_to(np.arange(NUM_WAYS), queries.shape).copy()
    asked = np.ones(queries.shape, dtype=bool)
    of_class = np.clip(np.bincount(classes) - NUM_SUPPORT, 0, NUM_QUERIES).astype(np.float64)
    weights = of_class[classes[np.searchsorted(items, queries)]]
    return Episodes(
        support=support, queries=queries, answers=answers, asked=asked, weights=weights, per_question=NUM_IMAGES
    )


def _draw_episode(groups: list[Int[np.ndarray, "_"]], generator: np.random.Generator) -> Int[np.ndarray, "5 21"]:
    """Return the items of an episode, one row for each class, padded with -1."""
    rows = np.full((NUM_WAYS, NUM_SUPPORT + NUM_QUERIES), -1, dtype=np.int64)
    for row, label in zip(rows, generator.choice(len(groups), NUM_WAYS, replace=False), strict=True):
        chosen = generator.permutation(groups[label])[: len(row)]
        row[: len(chosen)] = chosen
    return rows


class FewShotTask(SameClassTask):
    """5-way 5-shot episodes, drawn once from the seed: 600 on test; of balanced questions, 120 on train and 720 on val.

    Six episodes of a balanced question are one question. The full questions are episodes like those on test, 10 on
    train and 100 on val.

    If train cannot fill an episode, it has no metric.

    Raises:
        UserError: val or test cannot fill an episode.
    """

    objective: ClassVar[Objective] = Objective("few_shot_accuracy", "max")

    def __init__(
        self,
        featured: FeaturedItems,
        *,
        seed: int,
        train_on: tuple[Split, ...] = (Split.TRAIN,),
        val_questions: ValQuestions = ValQuestions.REDUCED,
    ) -> None:
        super().__init__(featured, seed=seed, train_on=train_on, val_questions=val_questions)
        self._episodes: dict[Split, Episodes] = {}
        self._val_factor = 1
        for split in (Split.VAL, Split.TEST):
            self._check_episodes(split)

    def with_fresh_val(self, seed: int, part: int, *, keep_classes: bool = False) -> "FewShotTask":
        """Return the task with other classes held out as val, see `hold_out`, and 5 times as many questions on val."""
        fresh = with_other_val(self, seed, part, keep_classes=keep_classes)
        fresh._val_factor = FRESH_FACTOR
        return fresh

    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Return the accuracy of each episode of a split; or the mean of the episodes of each balanced question."""
        if split is Split.TRAIN and not self._fills_episodes(split):
            return {}
        episodes = self._episodes_of(split)
        scores = scorer(episodes.queries, episodes.support)
        weights = episodes.asked if episodes.weights is None else episodes.weights
        accuracy = episode_accuracy(scores, episodes.answers, weights)
        return {self.objective.name: accuracy.reshape(-1, episodes.per_question).mean(axis=1)}

    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Return the accuracy of each episode, and recall@1,2,4,8 of each item as a query among the split's others."""
        items = self.featured.splits[split]
        classes = self.featured.classes[items]
        best, unknown = rank_gallery(scorer, items, items, max(RECALL_AT))
        _, place, sizes = np.unique(classes, return_inverse=True, return_counts=True)
        ranks = match_ranks(classes[best], unknown, classes)[sizes[place] > 1]
        recall = recall_of_ranks(RECALL_AT, ranks)
        return self.evaluate(scorer, split) | {f"recall@{k}": hits for k, hits in recall.items()}

    def _check_episodes(self, split: Split) -> None:
        items = self.featured.splits[split]
        try:
            eligible_classes(items, self.featured.classes[items])
        except UserError as error:
            raise UserError(f"split {split}: {error}") from error

    def _fills_episodes(self, split: Split) -> bool:
        try:
            self._check_episodes(split)
        except UserError:
            return False
        return True

    def _episodes_of(self, split: Split) -> Episodes:
        if split not in self._episodes:
            self._episodes[split] = self._draw(split, self.featured.splits[split])
        return self._episodes[split]

    def _draw(self, split: Split, items: Int[np.ndarray, "n"]) -> Episodes:
        factor = self._val_factor if split is Split.VAL else 1
        if split in NUM_BALANCED and self.val_questions is ValQuestions.REDUCED:
            generator = np.random.default_rng([self.seed, BALANCED_PURPOSE])
            return draw_balanced_episodes(items, self.featured.classes[items], factor * NUM_BALANCED[split], generator)
        generator = np.random.default_rng([self.seed, EPISODES_PURPOSE, NUM_EPISODES[split]])
        return draw_episodes(items, self.featured.classes[items], factor * NUM_EPISODES[split], generator)
