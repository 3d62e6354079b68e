"""Differences of two methods on the same questions or seeds, corrected for many comparisons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from pan_model.scores import Interval, mean_and_error
from study.analysis.uncertainty import t_quantile
from study.trials.question_scores import interval_ahead

SIGNIFICANT = 0.05
"""The corrected p-value below which a difference is called one."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean of a method minus that of a reference.

    Attributes:
        interval: The mean difference with its 95% interval, not corrected for many comparisons.
        count: The number of questions, or of seeds, that were paired.
        p_value: The two-sided p-value of no difference; None if it is not tested.
        corrected: The p-value after Holm's correction; None if it is not tested.
    """

    interval: Interval
    count: int
    p_value: float | None = None
    corrected: float | None = None

    @property
    def verdict(self) -> str:
        """What the corrected test shows: "better", "worse" or "not shown"; empty if it is not tested."""
        if self.corrected is None:
            return ""
        if self.corrected >= SIGNIFICANT:
            return "not shown"
        return "better" if self.interval.mean > 0 else "worse"


def paired_by_question(method: ArrayLike, reference: ArrayLike) -> Difference:
    """Compare two methods question by question.

    The interval is that of all tables of a study, mean +- 1.96 s / sqrt(n), and the test is the z-test that belongs to
    it. Two methods with the same score in every question have the p-value 1.

    Args:
        method: The method's score of each question.
        reference: The reference's score of each question.

    >>> paired_by_question([1.0, 0.5, 1.0], [1.0, 0.5, 1.0]).p_value
    1.0
    """
    differences = np.asarray(method, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    mean, error = mean_and_error(differences)
    p_value = None if len(differences) < 2 else _two_sided(mean, error)
    return Difference(interval=interval_ahead(method, reference), count=len(differences), p_value=p_value)


def paired_by_seed(method: Sequence[float], reference: Sequence[float]) -> Difference:
    """Compare the means of two methods seed by seed, with the interval of Student's t over the seeds.

    The interval covers the randomness of training, not the choice of questions. It is not tested.

    Args:
        method: The method's mean of each seed; at least two.
        reference: The reference's mean of each seed.

    >>> paired_by_seed([1.0, 0.5], [0.75, 0.75]).interval.mean
    0.0
    """
    differences = np.asarray(method, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    count = len(differences)
    quantile = t_quantile(count - 1)
    mean, half = float(differences.mean()), quantile * float(differences.std(ddof=1)) / math.sqrt(count)
    return Difference(interval=Interval(mean, max(mean - half, -1.0), min(mean + half, 1.0)), count=count)


def correct(differences: Sequence[Difference | None]) -> list[Difference | None]:
    """Return the differences with p-values corrected for the number of tests by Holm's method; None stays None.

    >>> tested = Difference(interval=Interval(0.1, 0.0, 0.2), count=9, p_value=0.02)
    >>> [difference.corrected for difference in correct([tested, tested]) if difference]
    [0.04, 0.04]
    """
    tested = [place for place, one in enumerate(differences) if one is not None and one.p_value is not None]
    ordered = sorted(tested, key=lambda place: _p_value(differences[place]))
    corrected = list(differences)
    largest = 0.0
    for rank, place in enumerate(ordered):
        difference = differences[place]
        assert difference is not None
        largest = max(largest, min(1.0, (len(ordered) - rank) * _p_value(difference)))
        corrected[place] = replace(difference, corrected=largest)
    return corrected


def _p_value(difference: Difference | None) -> float:
    return 1.0 if difference is None or difference.p_value is None else difference.p_value


def _two_sided(mean: float, error: float) -> float:
    """Return the two-sided p-value of a mean with a standard error, from the normal distribution."""
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return math.erfc(abs(mean) / error / math.sqrt(2))
