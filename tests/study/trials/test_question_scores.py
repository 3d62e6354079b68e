import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.errors import UserError
from pan_model.scores import Interval
from study.config.choices import BASELINES
from study.trials.question_scores import (
    as_entry,
    as_lists,
    from_entry,
    interval_ahead,
    interval_of,
    read_baselines,
    write_baselines,
)

SCORES = [0.5, 0.7, 0.9, 0.2]
OTHERS = [0.4, 0.9, 0.5, 0.1]
numbers = st.floats(-1, 1, allow_subnormal=False)


def slow_interval(values: list[float]) -> tuple[float, float, float]:
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = 1.96 * math.sqrt(variance / len(values))
    return mean, mean - half, mean + half


def test_an_interval_is_the_mean_and_196_standard_errors():
    assert interval_of(SCORES) == pytest.approx(slow_interval(SCORES), rel=1e-12)
    assert interval_of([0.25]) == (0.25, 0.25, 0.25)


def test_bounds_are_values_that_a_mean_can_have():
    assert interval_of([0.0, 1.0]) == (0.5, 0.0, 1.0)
    assert interval_ahead([1.0, 0.0], [0.0, 1.0]) == (0.0, -1.0, 1.0)


def test_a_lead_is_taken_question_by_question():
    assert interval_ahead(SCORES, OTHERS).mean == pytest.approx(0.1, rel=1e-12)
    assert interval_ahead(SCORES, OTHERS) == pytest.approx(slow_interval([0.1, -0.2, 0.4, 0.1]), rel=1e-12)


def test_the_same_lead_everywhere_is_certain_however_the_questions_vary():
    ahead = [score + 0.25 for score in SCORES]
    assert interval_ahead(ahead, SCORES) == pytest.approx((0.25, 0.25, 0.25), rel=1e-12)
    assert interval_of(ahead).low < 0.7


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=20))
def test_whoever_is_ahead_the_other_is_behind(pairs: list[tuple[float, float]]):
    one, other = map(list, zip(*pairs, strict=True))
    lead, lag = interval_ahead(one, other), interval_ahead(other, one)
    assert (lag.mean, lag.low, lag.high) == (-lead.mean, -lead.high, -lead.low)


def test_other_questions_cannot_be_compared():
    with pytest.raises(ValueError, match="broadcast"):
        interval_ahead(SCORES, OTHERS[:-1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scores_read_back_exactly_from_json(dtype: type):
    scores = {"accuracy": np.array([0.1 + 0.2, 1 / 3, 1.0, 0.0], dtype=dtype), "recall@1": np.array([1.0])}
    back = json.loads(json.dumps(as_lists(scores)))
    assert list(back) == ["accuracy", "recall@1"]
    for name, questions in scores.items():
        assert np.array_equal(np.array(back[name], dtype=questions.dtype), questions)


def test_baselines_read_back_exactly(tmp_path: Path):
    written = {name: {"accuracy": [0.1 + 0.2, 1 / 3, n / 7]} for n, name in enumerate(BASELINES)}
    write_baselines(tmp_path / "demo" / "baselines.json", written)
    assert read_baselines(tmp_path / "demo" / "baselines.json") == written


def test_a_study_without_baselines_json_has_no_baselines(tmp_path: Path):
    assert read_baselines(tmp_path / "baselines.json") == {}


@pytest.mark.parametrize(
    ("questions", "rule"),
    [
        ("null", "questions must be an object, got null"),
        ("3", "questions must be an object, got 3"),
        ('"text"', 'questions must be an object, got "text"'),
        ("[]", "questions must be an object, got []"),
        ('{"a": [[0.5]]}', "questions.a must be an object, got [[0.5]]"),
        ('{"a": {}}', "questions.a must have at least 1 item(s), got {}"),
        ('{"a": {"accuracy": 0.5}}', "questions.a.accuracy must be a list, got 0.5"),
        ('{"a": {"accuracy": []}}', "questions.a.accuracy must have at least 1 item(s), got []"),
        ('{"a": {"accuracy": "12"}}', 'questions.a.accuracy must be a list, got "12"'),
        ('{"a": {"accuracy": ["0.5"]}}', 'questions.a.accuracy.0 must be a valid number, got "0.5"'),
        ('{"a": {"accuracy": [0.5, null]}}', "questions.a.accuracy.1 must be a valid number, got null"),
        ('{"a": {"accuracy": [true]}}', "questions.a.accuracy.0 must be a valid number, got true"),
        ('{"a": {"accuracy": [NaN]}}', "questions.a.accuracy.0 must be a finite number, got NaN"),
        ('{"a": {"accuracy": [-Infinity]}}', "questions.a.accuracy.0 must be a finite number, got -Infinity"),
        (f'{{"a": {{"accuracy": [1{"0" * 400}]}}}}', "questions.a.accuracy.0 must be "),
        ('{"a": {"accuracy": [0.5], "recall@1": 3}}', "questions.a.recall@1 must be a list, got 3"),
    ],
)
def test_damaged_scores_are_refused_by_file_and_field(tmp_path: Path, questions: str, rule: str):
    path = tmp_path / "baselines.json"
    path.write_text(f'{{"split": "val", "questions": {questions}}}')
    with pytest.raises(UserError, match=re.escape(f"{path}: {rule}")) as caught:
        read_baselines(path)
    assert str(caught.value).endswith("; remove the file.")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{}", "lacks questions; remove the file."),
        ("[]", "the whole file must be an object, got []; remove the file."),
        ('{"split": ', "is not JSON ("),
    ],
)
def test_damaged_baselines_are_refused_by_their_file(tmp_path: Path, text: str, rule: str):
    path = tmp_path / "baselines.json"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(f"{path}: {rule}")):
        read_baselines(path)


@given(numbers, numbers, numbers)
def test_an_entry_of_metrics_reads_back_exactly(mean: float, low: float, high: float):
    interval = Interval(mean, low, high)
    assert from_entry(json.loads(json.dumps(as_entry(interval, "difference"))), "difference") == interval
