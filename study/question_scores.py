"""Scores of questions, one by one: as JSON holds them, with intervals, and of two methods question by question."""

from collections.abc import Sequence

import numpy as np

from pan_model.metrics import Interval, mean_interval
from pan_model.tasks import QuestionScores

QuestionLists = dict[str, list[float]]
"""For each metric, one score a question, as JSON has it."""


def as_lists(scores: QuestionScores) -> QuestionLists:
    """Scores of questions as JSON can hold them; they read back exactly."""
    return {name: [float(question) for question in questions] for name, questions in scores.items()}


def interval_of(questions: Sequence[float]) -> Interval:
    """Mean and 95% interval over the questions."""
    return mean_interval(np.array(questions, dtype=np.float64))


def interval_ahead(one: Sequence[float], other: Sequence[float]) -> Interval:
    """How far one method is ahead of another on the same questions: mean difference and 95% interval.

    >>> interval_ahead([1.0, 0.5], [0.5, 0.5]).mean
    0.25
    """
    return mean_interval(np.array(one, dtype=np.float64) - np.array(other, dtype=np.float64))
