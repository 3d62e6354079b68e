"""The task on outfits: items that were worn together to train on, blanks and outfits to be judged by (Polyvore)."""

from collections.abc import Sequence
from copy import copy
from itertools import chain
from typing import ClassVar

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.polyvore.outfits import Outfits
from pan_model.data.polyvore.question_drawing import draw_questions
from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion, QuestionSource
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.scoring.set_scorer import CosineScoring, SetScorer
from pan_model.shapes import Float, Int
from pan_model.tasks import Task
from pan_model.tasks.outfit_context import OutfitContext
from pan_model.tasks.outfit_pairs import NonEdges, outfit_pairs
from pan_model.tasks.outfit_scoring import compat_auc, fitb_accuracy
from pan_model.tasks.pairs import Pairs, PairSampling, PairsConfig, cut_into_steps, draw_pairs, halve_pairs

FITB, COMPAT = "fitb_accuracy", "compat_auc"

EDGES_PURPOSE = 7
"""Keeps the random numbers that part edges from positives apart from others of the same seed."""

NUM_WATCHED = 100
"""Outfits of train that are asked about, where overfitting is only watched."""

NUM_CHECKED = 50
"""Outfits of a split that are looked at first, to see that it allows questions at all."""

Questions = tuple[Sequence[FitbQuestion], Sequence[CompatQuestion]]


class OutfitTask(Task):
    """Fill-in-the-blank and compatibility questions on the outfits of a split, drawn once from the seed.

    Positives to train on are the pairs of items that share an outfit of the training splits, each once. As a graph,
    items that share an outfit are neighbours.

    Raises UserError when val or test allows no question of either kind, and when there is nothing to train on.
    """

    objective: ClassVar[Objective] = Objective("score", "max")
    untrained: ClassVar[CosineScoring] = CosineScoring.MEAN_COSINE

    def __init__(self, featured: FeaturedItems, *, seed: int, train_on: tuple[Split, ...] = (Split.TRAIN,)) -> None:
        super().__init__(featured, seed=seed, train_on=train_on)
        if not isinstance(featured.relations, Outfits):
            raise TypeError("items of outfits expected, as read_polyvore gives them.")
        self._outfits = featured.relations
        self._training_outfits = tuple(chain.from_iterable(self._outfits.outfits[split] for split in train_on))
        self._positives = outfit_pairs(self._training_outfits)
        self._negatives = NonEdges(self.training_items, self._positives)
        self._questions: dict[Split, Questions] = {}
        self._pairs_of_the_paper = 0
        self._contexts: dict[Split, OutfitContext] = {}
        for split in (Split.VAL, Split.TEST):
            self._check_questions(split)

    def normalisation_groups(self) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Every training item once for each outfit that it is in, and the number of that outfit."""
        sizes = [len(outfit) for outfit in self._training_outfits]
        items = np.fromiter(chain.from_iterable(self._training_outfits), dtype=np.int64, count=sum(sizes))
        return items, np.repeat(np.arange(len(sizes)), sizes)

    def draw_steps(self, config: PairsConfig, generator: np.random.Generator) -> list[Pairs]:
        """Draw pairs that share an outfit and as many that share none, see `pan_model.tasks.pairs.draw_pairs`."""
        if config.pairs is PairSampling.BALANCED:
            raise UserError("pairs balanced needs classes; outfits have none. Choose fixed or fresh.")
        num_pairs = config.pairs_per_epoch or self._pairs_of_the_paper
        pairs = draw_pairs(self._positives, self._negatives.draw, num_pairs, generator)
        return cut_into_steps(pairs, config.steps_per_epoch)

    def split_edges(self, seed: int) -> tuple["OutfitTask", Int[np.ndarray, "2 L"]]:
        """Half of the positives to learn from, the others as edges; negatives are pairs that share no outfit at all.

        By the paper's rule an epoch has all of that half: it is the half that the rule speaks of.
        """
        learning = copy(self)
        learning._positives, edges = halve_pairs(self._positives, np.random.default_rng([seed, EDGES_PURPOSE]))
        learning._pairs_of_the_paper = 2 * learning._positives.shape[1]
        return learning, edges

    def edges_around(
        self, split: Split, queries: Int[np.ndarray, "Q"], sets: Int[np.ndarray, "C S"], *, context: int = 0
    ) -> Int[np.ndarray, "2 L"]:
        """Edges of the split's own outfits that cannot tell which query is right, see `OutfitContext`.

        At most `context` for each item of the set; none where several sets are compared.
        """
        if context == 0 or len(sets) != 1:
            return super().edges_around(split, queries, sets)
        if split not in self._contexts:
            self._contexts[split] = OutfitContext(self._outfits.outfits[split])
        return self._contexts[split].edges_around(queries, sets[0], context)

    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """The score, and what it is the mean of; nothing for a training split that allows no question."""
        blanks, outfits = self._questions_of(split)
        if split is Split.TRAIN and not (blanks and outfits):
            return {}
        accuracy, beaten = fitb_accuracy(scorer, blanks), compat_auc(scorer, outfits)
        return {self.objective.name: join_halves(accuracy, beaten), FITB: accuracy, COMPAT: beaten}

    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """The same, and both metrics on the questions of the dataset's own files: original_.., harder_.. if there."""
        scores = dict(self.evaluate(scorer, split))
        for source in QuestionSource:
            blanks = self._outfits.files.fitb.get((source, split), ())
            outfits = self._outfits.files.compat.get((source, split), ())
            if blanks:
                scores[f"{source}_{FITB}"] = fitb_accuracy(scorer, blanks)
            if len({question.compatible for question in outfits}) == 2:  # without negatives there is no AUC
                scores[f"{source}_{COMPAT}"] = compat_auc(scorer, outfits)
        return scores

    def _questions_of(self, split: Split) -> Questions:
        if split not in self._questions:
            self._questions[split] = self._draw(split, NUM_WATCHED if split is Split.TRAIN else None)
        return self._questions[split]

    def _draw(self, split: Split, most: int | None) -> Questions:
        blanks, outfits = draw_questions(
            self._outfits.outfits, self._outfits.categories, split=split, seed=self.seed, most=most
        )
        return blanks.listed(), outfits.listed()

    def _check_questions(self, split: Split) -> None:
        if all(self._draw(split, NUM_CHECKED)):  # all of test would take seconds in every trial
            return
        for kind, questions in zip(("fill-in-the-blank", "compatibility"), self._questions_of(split), strict=True):
            if not questions:
                num_outfits = len(self._outfits.outfits[split])
                raise UserError(
                    f"split {split}: expected outfits that allow {kind} questions, got {num_outfits} that allow none; "
                    "add items of the same categories."
                )


def join_halves(one: Float[np.ndarray, "n"], other: Float[np.ndarray, "m"]) -> Float[np.ndarray, "_"]:
    """Put two lists of scores into one whose mean is the mean of their means, however long each is.

    Of n + m scores, each of the n is weighted (n + m) / 2n and each of the m (n + m) / 2m, so that single ones can be
    above 1. The deviation holds that between the lists too: intervals are at least as wide as they must be.

    >>> join_halves(np.array([1.0]), np.array([1.0, 0.0, 0.0])).tolist()
    [2.0, 0.6666666666666666, 0.0, 0.0]
    """
    total = len(one) + len(other)
    return np.concatenate([one * (total / (2 * len(one))), other * (total / (2 * len(other)))])
