"""The outfit task: trains on items that share an outfit; metrics fill blanks and rank outfits (Polyvore)."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import chain
from typing import ClassVar

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.polyvore.outfits import Outfit, Outfits
from pan_model.data.polyvore.question_drawing import draw_questions
from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion, QuestionSource
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.shapes import Float, Int
from pan_model.tasks.metrics import choice_accuracy, share_beaten
from pan_model.tasks.outfit_context import OutfitContext
from pan_model.tasks.outfit_pairs import NonEdges, outfit_pairs
from pan_model.tasks.pairs import Pairs, PairSampling, PairsConfig, draw_pairs, halve_pairs, split_into_steps
from pan_model.tasks.task import CosineScoring, SetScorer, Task

FITB, COMPAT = "fitb_accuracy", "compat_auc"

EDGES_PURPOSE = 7
"""Key that separates the random numbers of `split_edges` from others of the same seed."""

NUM_TRAIN_OUTFITS = 100
"""Outfits of train that have questions. Evaluation on train only shows overfitting."""

NUM_CHECKED = 50
"""Outfits of a split that are checked first when its questions are validated."""

PAIRS_BATCH_SIZE = 8192
"""Pairs of items that are scored at a time: bounds memory at a few times (P, E) floats."""

Questions = tuple[Sequence[FitbQuestion], Sequence[CompatQuestion]]


class OutfitTask(Task):
    """Fill-in-the-blank and compatibility questions on the outfits of a split, drawn once from the seed.

    Positives are the pairs of items that share an outfit of the training splits. In its graph, items that share an
    outfit are neighbours.

    Raises:
        UserError: val or test lacks questions of either kind, or there are no pairs to train on.
    """

    objective: ClassVar[Objective] = Objective("score", "max")
    untrained: ClassVar[CosineScoring] = CosineScoring.MEAN_COSINE

    def __init__(self, featured: FeaturedItems, *, seed: int, train_on: tuple[Split, ...] = (Split.TRAIN,)) -> None:
        super().__init__(featured, seed=seed, train_on=train_on)
        if not isinstance(featured.relations, Outfits):
            raise TypeError(f"an outfit task needs items with outfits, got {type(featured.relations).__name__}.")
        self._outfits = featured.relations
        self._training_outfits = tuple(chain.from_iterable(self._outfits.outfits[split] for split in train_on))
        self._positives = outfit_pairs(self._training_outfits)
        self._negatives = NonEdges(self.training_items, self._positives)
        self._questions: dict[Split, Questions] = {}
        self._paper_num_pairs = 0
        self._contexts: dict[Split, OutfitContext] = {}
        for split in (Split.VAL, Split.TEST):
            self._check_questions(split)

    @property
    def training_outfits(self) -> tuple[Outfit, ...]:
        """The outfits to train on."""
        return self._training_outfits

    @property
    def categories(self) -> Int[np.ndarray, "N"]:
        """The category of each item."""
        return self._outfits.categories

    def normalisation_groups(self) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """Return every training item once for each of its outfits, and the number of that outfit."""
        sizes = [len(outfit) for outfit in self._training_outfits]
        items = np.fromiter(chain.from_iterable(self._training_outfits), dtype=np.int64, count=sum(sizes))
        return items, np.repeat(np.arange(len(sizes)), sizes)

    def draw_steps(self, config: PairsConfig, generator: np.random.Generator) -> list[Pairs]:
        """Draw pairs that share an outfit, and as many that share none (`pan_model.tasks.pairs.draw_pairs`)."""
        if config.pairs is PairSampling.BALANCED:
            raise UserError("pairs balanced needs classes; outfits have none. Choose fixed or fresh.")
        num_pairs = config.pairs_per_epoch or self._paper_num_pairs
        pairs = draw_pairs(self._positives, self._negatives.draw, num_pairs, generator)
        return split_into_steps(pairs, config.steps_per_epoch)

    def split_edges(self, seed: int) -> tuple["OutfitTask", Int[np.ndarray, "2 L"]]:
        """Split the pairs that share an outfit into positives to train on and edges.

        Negatives are pairs that share no outfit. By the paper's rule an epoch uses all of these positives, which are
        half of all pairs that share an outfit.
        """
        learning = copy(self)
        learning._positives, edges = halve_pairs(self._positives, np.random.default_rng([seed, EDGES_PURPOSE]))
        learning._paper_num_pairs = 2 * learning._positives.shape[1]
        return learning, edges

    def with_fresh_val(self, seed: int, part: int, *, keep_classes: bool = False) -> "OutfitTask":
        """Return the task with questions on the same outfits that are drawn from another seed, one for each part."""
        fresh = copy(self)
        fresh.seed, fresh._scored, fresh._questions = seed + part, {}, {}
        return fresh

    def edges_around(
        self, split: Split, queries: Int[np.ndarray, "Q"], sets: Int[np.ndarray, "C S"], *, context: int = 0
    ) -> Int[np.ndarray, "2 L"]:
        """Return edges of the split's outfits that do not reveal the correct query, see `OutfitContext`.

        At most `context` edges for each item of the set; none if there are several sets.
        """
        if context == 0 or len(sets) != 1:
            return super().edges_around(split, queries, sets)
        if split not in self._contexts:
            self._contexts[split] = OutfitContext(self._outfits.outfits[split])
        return self._contexts[split].edges_around(queries, sets[0], context)

    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Return the score and the two metrics that it averages; nothing if train allows no question."""
        blanks, outfits = self._questions_of(split)
        if split is Split.TRAIN and not (blanks and outfits):
            return {}
        accuracy, beaten = fitb_accuracy(scorer, blanks), compat_auc(scorer, outfits)
        return {self.objective.name: join_halves(accuracy, beaten), FITB: accuracy, COMPAT: beaten}

    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Return `evaluate`'s scores, and both metrics on the questions of the files: original_.., harder_.."""
        scores = dict(self.evaluate(scorer, split))
        for source in QuestionSource:
            blanks = self._outfits.files.fitb.get((source, split), ())
            outfits = self._outfits.files.compat.get((source, split), ())
            if blanks:
                scores[f"{source}_{FITB}"] = fitb_accuracy(scorer, blanks)
            if len({question.compatible for question in outfits}) == 2:  # without negatives there is no AUC
                scores[f"{source}_{COMPAT}"] = compat_auc(scorer, outfits)
        return scores

    def sample_blanks(self, split: Split, most: int) -> Sequence[FitbQuestion]:
        """Return the fill-in-the-blank questions on at most so many outfits of a split."""
        return self._draw(split, most)[0]

    def _questions_of(self, split: Split) -> Questions:
        if split not in self._questions:
            self._questions[split] = self._draw(split, NUM_TRAIN_OUTFITS if split is Split.TRAIN else None)
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


def join_halves(first: Float[np.ndarray, "n"], second: Float[np.ndarray, "m"]) -> Float[np.ndarray, "_"]:
    """Combine two lists of scores into one whose mean is the mean of their means.

    Of n + m scores, each of the n has weight (n + m) / 2n and each of the m (n + m) / 2m, so that scores can exceed 1.
    The deviation includes that between the lists: intervals are conservative.

    >>> join_halves(np.array([1.0]), np.array([1.0, 0.0, 0.0])).tolist()
    [2.0, 0.6666666666666666, 0.0, 0.0]
    """
    total = len(first) + len(second)
    return np.concatenate([first * (total / (2 * len(first))), second * (total / (2 * len(second)))])


def fitb_accuracy(scorer: SetScorer, questions: Sequence[FitbQuestion]) -> Float[np.ndarray, "B"]:
    """Return, for each question, whether the correct candidate fits the question's items best; ties are shared."""
    accuracy = np.empty(len(questions))
    shapes = [(len(question.answers), len(question.question)) for question in questions]
    for (num_answers, num_asked), places in _in_batches(shapes):
        chosen = [questions[place] for place in places]
        answers = np.array([question.answers for question in chosen]).reshape(-1, num_answers)
        asked = np.array([question.question for question in chosen]).reshape(-1, 1, num_asked)
        right = np.array([question.right for question in chosen])
        accuracy[places] = choice_accuracy(scorer(answers, asked)[:, :, 0].astype(np.float64), right)
    return accuracy


def compat_auc(scorer: SetScorer, questions: Sequence[CompatQuestion]) -> Float[np.ndarray, "P"]:
    """Return, for each real outfit, the share of made-up ones that score lower (ties half); the mean is the AUC."""
    scores = outfit_scores(scorer, [question.items for question in questions])
    compatible = np.array([question.compatible for question in questions], dtype=bool)
    return share_beaten(scores[compatible], scores[~compatible])


def outfit_scores(scorer: SetScorer, outfits: Sequence[Outfit]) -> Float[np.ndarray, "B"]:
    """Return the mean over an outfit's items of the score of the item against the set of the others.

    For scorers that average over pairs this is the mean pair score. It does not depend on the order of the items.
    """
    distinct = {outfit: tuple(sorted(outfit)) for outfit in outfits}
    ordered = sorted(set(distinct.values()))
    scores: dict[Outfit, float] = {}
    for (size, num_others), places in _in_batches((len(outfit), len(outfit) - 1) for outfit in ordered):
        items = np.array([ordered[place] for place in places], dtype=np.int64)
        of_items = scorer(items.reshape(-1, 1), items[:, _others(size)].reshape(-1, 1, num_others))
        means: list[float] = of_items.reshape(-1, size).mean(axis=1, dtype=np.float64).tolist()
        scores |= {ordered[place]: mean for place, mean in zip(places, means, strict=True)}
    return np.array([scores[distinct[outfit]] for outfit in outfits], dtype=np.float64)


def _others(size: int) -> Int[np.ndarray, "S s"]:
    """Return, for each position 0..size-1, all other positions."""
    return np.nonzero(~np.eye(size, dtype=bool))[1].reshape(size, size - 1)


def _in_batches(shapes: Iterable[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Yield batches of positions with the same shape; the product of a shape is its number of pairs."""
    groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for place, shape in enumerate(shapes):
        groups[shape].append(place)
    for shape, places in groups.items():
        most = max(1, PAIRS_BATCH_SIZE // math.prod(shape))
        for start in range(0, len(places), most):
            yield shape, places[start : start + most]
