"""Scores of questions, one by one: as JSON holds them, with intervals, and of two methods question by question."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.scores import Interval, QuestionScores, mean_interval
from study.storage.files import parse_json, read_if_there, write_json
from study.storage.location import Location

QuestionLists = dict[str, list[float]]
"""For each metric, one score a question, as JSON has it."""


def as_lists(scores: QuestionScores) -> QuestionLists:
    """Scores of questions as JSON can hold them; they read back exactly."""
    return {name: [float(question) for question in questions] for name, questions in scores.items()}


def check_lists(value: Any, file: Location, field: str) -> QuestionLists:
    """Scores of questions as they were read from a field of a file; UserError names both when they are none."""
    lists = list(value.values()) if isinstance(value, dict) else []
    if not lists or not all(isinstance(one, list) and one and all(map(is_finite_number, one)) for one in lists):
        raise UserError(f"{file}: {field} must hold a list of finite numbers for each metric; remove the file.")
    return value


def check_methods(value: Any, file: Location, field: str) -> dict[str, QuestionLists]:
    """The same for a field that holds them for each method."""
    if not isinstance(value, dict):
        raise UserError(f"{file}: {field} must hold scores for each method; remove the file.")
    return {name: check_lists(lists, file, f"{field}.{name}") for name, lists in value.items()}


def interval_of(questions: ArrayLike) -> Interval:
    """Mean and 95% interval over the questions."""
    return mean_interval(np.asarray(questions, dtype=np.float64))


def interval_ahead(one: ArrayLike, other: ArrayLike) -> Interval:
    """How far one method is ahead of another on the same questions: mean difference and 95% interval.

    >>> interval_ahead([1.0, 0.5], [0.5, 0.5]).mean
    0.25
    """
    return interval_of(np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64))


def as_entry(interval: Interval, key: str) -> dict[str, Any]:
    """An interval as an entry of metrics.json has it, its mean under `key`.

    >>> as_entry(Interval(0.5, 0.4, 0.6), "mean")
    {'mean': 0.5, 'ci95': [0.4, 0.6]}
    """
    return {key: interval.mean, "ci95": [interval.low, interval.high]}


def from_entry(entry: Mapping[str, Any], key: str) -> Interval:
    """The interval of an entry of metrics.json.

    >>> from_entry({"mean": 0.5, "ci95": [0.4, 0.6]}, "mean") == Interval(0.5, 0.4, 0.6)
    True
    """
    low, high = entry["ci95"]
    return Interval(entry[key], low, high)


def is_finite_number(value: Any) -> bool:
    """Whether a value read from JSON is a number that can be computed with.

    >>> is_finite_number(1), is_finite_number(True), is_finite_number(float("nan"))
    (True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


BASELINES = ("nearest_class_mean", "nearest_class_mean_normalised", "siamese_distance", "paper_setting")
"""In the order of tables."""


def write_baselines(path: Location, baselines: dict[str, QuestionLists]) -> None:
    """Write the file."""
    write_json(path, {"split": Split.VAL.value, "questions": baselines})


def read_baselines(path: Location) -> dict[str, QuestionLists]:
    """Read the file; a study that was cut before it was written has none yet."""
    found = read_if_there(path, "remove the file")
    if found is None:
        return {}
    content = parse_json(path, found, "remove the file")
    return check_methods(content.get("questions") if isinstance(content, dict) else None, path, "questions")
