"""Scores of single questions, their mean with its interval, and the numbers of an epoch. Imports only numpy."""

from typing import NamedTuple

import numpy as np

from pan_model.shapes import Float

QuestionScores = dict[str, Float[np.ndarray, "_"]]
"""The scores of all questions, by metric. The value of a metric is the mean over its questions."""

EpochRecord = dict[str, int | float]
"""One line of a trial's history, with the keys epoch, <metric>, loss/<term> and time/<step>_s."""


DEVIATIONS = 1.96
"""Half the width of a 95% interval, in standard errors."""


class Interval(NamedTuple):
    """A mean over questions and its 95% confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Format as in tables, without minus zero: 0.5000 [0.4000, 0.6000]."""
        return f"{self.mean:z.4f} [{self.low:z.4f}, {self.high:z.4f}]"

    def __neg__(self) -> "Interval":
        """Return the interval of the difference in the other direction."""
        return Interval(-self.mean, -self.high, -self.low)


def mean_interval(questions: Float[np.ndarray, "Q"]) -> Interval:
    """Return mean +- 1.96 s / sqrt(n) over n questions, s the standard deviation with n - 1.

    The interval of a single question has zero width.

    >>> mean_interval(np.array([0.0, 1.0])).mean
    0.5
    """
    mean, error = mean_and_error(questions)
    return Interval(mean, mean - DEVIATIONS * error, mean + DEVIATIONS * error)


def mean_and_error(questions: Float[np.ndarray, "Q"]) -> tuple[float, float]:
    """Return the mean over questions and its standard error, s / sqrt(n), which is 0 for a single question.

    >>> mean_and_error(np.array([0.0, 1.0]))
    (0.5, 0.5)
    """
    error = float(questions.std(ddof=1)) / len(questions) ** 0.5 if len(questions) > 1 else 0.0
    return float(questions.mean()), error
