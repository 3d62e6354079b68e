"""Scores of single questions: forms in JSON, intervals, differences of two methods, and the file baselines.json."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.scores import Interval, QuestionScores, mean_interval
from study.storage.files import read_if_exists, write_json
from study.storage.json_models import JsonModel, JsonScalar, parse_model
from study.storage.location import Location

QuestionLists = dict[str, list[float]]
"""The score of each question by metric, in the form of JSON."""

CheckedQuestionLists = Annotated[dict[str, Annotated[list[float], Field(min_length=1)]], Field(min_length=1)]
"""`QuestionLists` as a field of a JSON file, with at least one metric and at least one question for each."""


class BaselinesFile(JsonModel):
    """The content of baselines.json, of a dataset or of a trial.

    Attributes:
        questions: The scores of each baseline on the validation questions.
        settings: The setting of each baseline that has one, chosen on val; earlier studies have none.
    """

    questions: dict[str, CheckedQuestionLists]
    settings: dict[str, dict[str, JsonScalar]] = Field(default_factory=dict[str, dict[str, JsonScalar]])


def as_lists(scores: QuestionScores) -> QuestionLists:
    """Convert scores of questions to lists for JSON; they read back exactly."""
    return {name: [float(question) for question in questions] for name, questions in scores.items()}


def interval_of(questions: ArrayLike) -> Interval:
    """Return the mean over the questions and its 95% interval, clipped to 0 to 1, where all metrics lie.

    >>> interval_of([1.0, 1.0, 0.9]).high
    1.0
    """
    return _clip(mean_interval(np.asarray(questions, dtype=np.float64)), 0.0)


def interval_ahead(method: ArrayLike, baseline: ArrayLike) -> Interval:
    """Return the mean of `method` minus `baseline` over the same questions, with its 95% interval, clipped to -1 to 1.

    >>> interval_ahead([1.0, 0.5], [0.5, 0.5]).mean
    0.25
    """
    return _clip(mean_interval(np.asarray(method, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)), -1.0)


def describe_lead(lead: Interval) -> str:
    """Return how far a method is ahead of another one, or behind it, in words.

    >>> describe_lead(Interval(0.25, 0.125, 0.375)), describe_lead(Interval(-0.5, -0.75, -0.25))
    ('ahead by 0.2500 [0.1250, 0.3750]', 'behind by 0.5000 [0.2500, 0.7500]')
    """
    return f"behind by {-lead}" if lead.mean < 0 else f"ahead by {lead}"


def _clip(interval: Interval, lowest: float) -> Interval:
    """Clip the bounds of an interval to the values that a mean can have, up to 1."""
    return Interval(interval.mean, max(interval.low, lowest), min(interval.high, 1.0))


def as_entry(interval: Interval, key: str) -> dict[str, Any]:
    """Return an interval as an entry of metrics.json, with its mean under `key`.

    >>> as_entry(Interval(0.5, 0.4, 0.6), "mean")
    {'mean': 0.5, 'ci95': [0.4, 0.6]}
    """
    return {key: interval.mean, "ci95": [interval.low, interval.high]}


def from_entry(entry: Mapping[str, Any], key: str) -> Interval:
    """Return the interval of an entry of metrics.json; the inverse of `as_entry`.

    >>> from_entry({"mean": 0.5, "ci95": [0.4, 0.6]}, "mean") == Interval(0.5, 0.4, 0.6)
    True
    """
    low, high = entry["ci95"]
    return Interval(entry[key], low, high)


Settings = dict[str, dict[str, Scalar]]
"""The setting of each baseline that has one."""


def write_baselines(path: Location, baselines: Mapping[str, QuestionLists], settings: Settings | None = None) -> None:
    """Write baselines.json.

    Args:
        path: The file, of a dataset or of a trial.
        baselines: The scores of each baseline.
        settings: The settings that were chosen on val.
    """
    write_json(path, {"split": Split.VAL.value, "questions": baselines, "settings": settings or {}})


def read_baselines(path: Location) -> dict[str, QuestionLists]:
    """Read the scores of each baseline from baselines.json; empty if the study was interrupted before it was written.

    Raises:
        UserError: If the file is damaged.
    """
    return _read(path).questions


def read_settings(path: Location) -> Settings:
    """Read the settings of baselines that baselines.json holds; empty if there is none.

    Raises:
        UserError: If the file is damaged.
    """
    return _read(path).settings


def _read(path: Location) -> BaselinesFile:
    content = read_if_exists(path, "remove the file")
    return (
        BaselinesFile(questions={}) if content is None else parse_model(path, content, BaselinesFile, "remove the file")
    )


def scores_line(epoch: int, scores: Sequence[float]) -> str:
    r"""Return the line of val_questions.jsonl for an epoch. Numbers read back exactly; 0 and 1 have one digit.

    >>> scores_line(2, [1.0, 0.0, 0.1])
    '{"epoch":2,"scores":[1,0,0.1]}\n'
    """
    numbers = [int(score) if float(score).is_integer() else float(score) for score in scores]
    return f"{scores_line_start(epoch)}{json.dumps(numbers, allow_nan=False, separators=(',', ':'))}}}\n"


def scores_line_start(epoch: int) -> str:
    """Return the beginning of the line of an epoch, by which it is found without parsing the others."""
    return f'{{"epoch":{epoch},"scores":'


def parse_scores_line(path: Location, line: bytes, way_out: str) -> tuple[int, list[float]]:
    """Return the epoch and the scores of a line of val_questions.jsonl.

    Args:
        path: The file, for the message.
        line: The line.
        way_out: The way out if the line is damaged, for the message.

    Raises:
        UserError: If the line is damaged.
    """
    try:
        parsed = json.loads(line)
        return int(parsed["epoch"]), [float(score) for score in parsed["scores"]]
    except (ValueError, TypeError, LookupError) as error:
        rule = 'every line must be {"epoch": N, "scores": [number, ..]}'
        got = line[:40].rstrip().decode("utf-8", "replace")
        raise UserError(f"{path}: {rule}, got {got!r}; {way_out}.") from error
