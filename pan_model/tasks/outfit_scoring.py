"""How a scorer answers questions on outfits: which item fills the blank, and which of the outfits are real (PAN)."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pan_model.data.polyvore.outfits import Outfit
from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion
from pan_model.scoring.set_scorer import SetScorer
from pan_model.shapes import Float, Int
from pan_model.tasks.metrics import choice_accuracy, share_beaten

SCORED_AT_ONCE = 8192
"""Pairs of items that a scorer is asked for at a time: bounds it at (P, E) floats a few times over."""


def fitb_accuracy(scorer: SetScorer, questions: Sequence[FitbQuestion]) -> Float[np.ndarray, "B"]:
    """For each question whether the right candidate goes best with the question's items, a set; ties are shared."""
    accuracy = np.empty(len(questions))
    shapes = [(len(question.answers), len(question.question)) for question in questions]
    for (num_answers, num_asked), places in _in_pieces(shapes):
        chosen = [questions[place] for place in places]
        answers = np.array([question.answers for question in chosen]).reshape(-1, num_answers)
        asked = np.array([question.question for question in chosen]).reshape(-1, 1, num_asked)
        right = np.array([question.right for question in chosen])
        accuracy[places] = choice_accuracy(scorer(answers, asked)[:, :, 0].astype(np.float64), right)
    return accuracy


def compat_auc(scorer: SetScorer, questions: Sequence[CompatQuestion]) -> Float[np.ndarray, "P"]:
    """For each real outfit the share of the others that score lower, ties half; the mean is the AUC."""
    scores = outfit_scores(scorer, [question.items for question in questions])
    compatible = np.array([question.compatible for question in questions], dtype=bool)
    return share_beaten(scores[compatible], scores[~compatible])


def outfit_scores(scorer: SetScorer, outfits: Sequence[Outfit]) -> Float[np.ndarray, "B"]:
    """The mean over an outfit's items of the score of the item and the others, as one set.

    For scorers that average over pairs this is the mean pair score. Outfits of the same items, in whatever order, have
    the very same score.
    """
    distinct = {outfit: tuple(sorted(outfit)) for outfit in outfits}
    ordered = sorted(set(distinct.values()))
    scores: dict[Outfit, float] = {}
    for (size, num_others), places in _in_pieces((len(outfit), len(outfit) - 1) for outfit in ordered):
        items = np.array([ordered[place] for place in places], dtype=np.int64)
        of_items = scorer(items.reshape(-1, 1), items[:, _others(size)].reshape(-1, 1, num_others))
        means: list[float] = of_items.reshape(-1, size).mean(axis=1, dtype=np.float64).tolist()
        scores |= {ordered[place]: mean for place, mean in zip(places, means, strict=True)}
    return np.array([scores[distinct[outfit]] for outfit in outfits], dtype=np.float64)


def _others(size: int) -> Int[np.ndarray, "S s"]:
    """For each of the places 0..size-1 all the others."""
    return np.nonzero(~np.eye(size, dtype=bool))[1].reshape(size, size - 1)


def _in_pieces(shapes: Iterable[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Yield the places of the same shape together, as many as may be scored at once: a shape has so many pairs."""
    groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for place, shape in enumerate(shapes):
        groups[shape].append(place)
    for shape, places in groups.items():
        most = max(1, SCORED_AT_ONCE // math.prod(shape))
        for start in range(0, len(places), most):
            yield shape, places[start : start + most]
