"""The few-shot task: same-class pairs to train on, 5-way 5-shot episodes and retrieval to be judged by (CUB, demo)."""

from typing import ClassVar

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.scoring.set_scorer import SetScorer
from pan_model.shapes import Int
from pan_model.tasks.episodes import Episodes, draw_episodes, eligible_classes
from pan_model.tasks.metrics import episode_accuracy, recall_at
from pan_model.tasks.same_class import SameClassTask

NUM_EPISODES = {Split.TRAIN: 10, Split.VAL: 100, Split.TEST: 600}
"""The paper's numbers for val and test; on train, where overfitting is only watched, fewer."""

RECALL_AT = (1, 2, 4, 8)
EPISODES_PURPOSE = 2
"""Keeps the random numbers of episodes apart from those of pairs drawn from the same seed."""


class FewShotTask(SameClassTask):
    """5-way 5-shot episodes, drawn once from the seed: 10 episodes on train, 100 on val, 600 on test.

    Raises UserError when val or test cannot fill an episode. Where train cannot, it is not watched.
    """

    objective: ClassVar[Objective] = Objective("few_shot_accuracy", "max")

    def __init__(self, featured: FeaturedItems, *, seed: int, train_on: tuple[Split, ...] = (Split.TRAIN,)) -> None:
        super().__init__(featured, seed=seed, train_on=train_on)
        self._episodes: dict[Split, Episodes] = {}
        for split in (Split.VAL, Split.TEST):
            self._check_episodes(split)

    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Accuracy of each episode of a split."""
        if split is Split.TRAIN and not self._fills_episodes(split):
            return {}
        episodes = self._episodes_of(split)
        scores = scorer(episodes.queries, episodes.support)
        return {self.objective.name: episode_accuracy(scores, episodes.answers, episodes.asked)}

    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Accuracy of each episode, and recall@1,2,4,8 of each item as a query among the others of the split."""
        items = self.featured.splits[split]
        scores = scorer(items[None], items[None, :, None])[0]
        recall = recall_at(RECALL_AT, scores, self.featured.classes[items])
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
        generator = np.random.default_rng([self.seed, EPISODES_PURPOSE, NUM_EPISODES[split]])
        return draw_episodes(items, self.featured.classes[items], NUM_EPISODES[split], generator)
