"""PAN compared with its baselines, on a winner written by hand, and the reading of metrics.json."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from pan_model.scores import Interval
from study.config.choices import BASELINES
from study.reporting.comparison import MethodScores, check_same_questions, compare_methods
from study.reporting.final_metrics import PAN, FinalScores, read_final
from study.trials.ledger import BestEpoch, Status, TrialRecord

METRIC = "few_shot_accuracy"
OWN = [0.5, 1.0]
SHARED = {name: {METRIC: [0.25, 0.25]} for name in BASELINES if name != "nearest_class_mean_normalised"}
NORMALISED = {"nearest_class_mean_normalised": {METRIC: [1.0, 1.0]}}
FINAL: dict[str, Any] = {
    "trial_id": "trial0",
    "metrics": {METRIC: {"mean": 0.6, "ci95": [0.5, 0.7]}},
    "baselines": {name: {METRIC: {"mean": n / 8, "ci95": [n / 16, n / 4]}} for n, name in enumerate(BASELINES)},
    "paired": {name: {METRIC: {"difference": n / 32, "ci95": [-n / 64, n / 2]}} for n, name in enumerate(BASELINES)},
}

SCORES = FinalScores(
    trial_id="trial0",
    test={PAN: Interval(0.6, 0.5, 0.7), **{name: Interval(n / 8, n / 16, n / 4) for n, name in enumerate(BASELINES)}},
    ahead={name: Interval(n / 32, -n / 64, n / 2) for n, name in enumerate(BASELINES)},
)
"""The same, read."""


@pytest.fixture
def winner(record: Callable[..., TrialRecord]) -> TrialRecord:
    """A trial whose best epoch is the second, in which it was as good as 0.9 on train."""
    one = record(0, Status.COMPLETED, 0.5, 0.75, 0.75)
    history = [epoch | {f"train/{METRIC}": train} for epoch, train in zip(one.history, (0.8, 0.9, 1.0), strict=True)]
    best = BestEpoch(epoch=2, questions={METRIC: OWN}, baselines=NORMALISED)
    return replace(one, history=history, best=best)


def test_pan_comes_first_then_every_baseline_in_the_order_of_tables(winner: TrialRecord):
    for baselines, final in (({}, None), (SHARED, None), (SHARED, SCORES)):
        scores = compare_methods(METRIC, winner, 2, baselines, final)
        assert [one.method for one in scores] == ["PAN", *BASELINES]


def test_on_val_all_answer_the_same_questions(winner: TrialRecord):
    pan, *others = compare_methods(METRIC, winner, 2, SHARED, None)
    half = 1.96 * 0.25  # the deviation of 0.5 and 1 is sqrt(2) / 4, and there are two of them
    assert (pan.train, pan.val_ahead, pan.test) == (0.9, None, None)
    assert pan.val == pytest.approx((0.75, 0.75 - half, 1.0))  # clipped
    for one in others:
        level = 1.0 if one.method in NORMALISED else 0.25
        assert one.val == (level, level, level)
        assert one.val_ahead == pytest.approx((0.75 - level, 0.75 - level - half, 0.75 - level + half))
        assert (one.train, one.test, one.test_ahead) == (None, None, None)


def test_on_test_the_numbers_are_those_of_the_final_training(winner: TrialRecord):
    pan, *others = compare_methods(METRIC, winner, 2, SHARED, SCORES)
    assert (pan.test, pan.test_ahead) == (Interval(0.6, 0.5, 0.7), None)
    for n, one in enumerate(others):
        assert one.test == Interval(n / 8, n / 16, n / 4)
        assert one.test_ahead == Interval(n / 32, -n / 64, n / 2)


def test_what_a_study_cut_early_has_not_written_is_left_open(winner: TrialRecord):
    pan, *others = compare_methods(METRIC, winner, 2, {}, None)
    assert pan.val is not None
    normalised = [one for one in others if one.method in NORMALISED]
    assert all(one.val_ahead is not None for one in normalised)
    assert [one for one in others if one not in normalised] == [MethodScores(method=name) for name in SHARED]


def test_without_its_best_epoch_pan_s_questions_and_its_own_baseline_are_not_known(winner: TrialRecord):
    of_another_epoch = replace(winner, best=BestEpoch(epoch=3, questions={METRIC: [0.0]}, baselines=NORMALISED))
    for one in (replace(winner, best=None), of_another_epoch):
        pan, *others = compare_methods(METRIC, one, 2, SHARED, SCORES)
        assert (pan.train, pan.val, pan.test) == (0.9, None, Interval(0.6, 0.5, 0.7))
        assert {one.method for one in others if one.val is not None} == set(SHARED)
        assert all(one.val_ahead is None and one.test_ahead is not None for one in others)


def test_without_a_winner_only_the_shared_baselines_have_scores():
    pan, *others = compare_methods(METRIC, None, 0, SHARED, None)
    assert pan == MethodScores(method="PAN")
    assert {one.method for one in others if one.val is not None} == set(SHARED)
    assert all((one.val_ahead, one.test) == (None, None) for one in others)


def test_a_history_without_train_scores_leaves_them_open(winner: TrialRecord, epochs: Callable[..., Any]):
    bare = replace(winner, history=epochs(0.5, 0.75))
    assert compare_methods(METRIC, bare, 2, SHARED, None)[0].train is None


def test_a_baseline_that_the_final_training_lacks_is_left_open(winner: TrialRecord):
    without = replace(SCORES, test={PAN: SCORES.test[PAN]}, ahead={})
    pan, *others = compare_methods(METRIC, winner, 2, SHARED, without)
    assert pan.test is not None
    assert all((one.test, one.test_ahead) == (None, None) and one.val is not None for one in others)


def changed(content: dict[str, Any], *place: str, to: Any) -> dict[str, Any]:
    """The content with another value at a place, or without it where that is None."""
    first, *rest = place
    value = changed(content[first], *rest, to=to) if rest else to
    return {key: value if key == first else old for key, old in content.items() if (key, value) != (first, None)}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Any], FinalScores | None]:
    """Read this content from a file."""

    def read_content(content: Any) -> FinalScores | None:
        (tmp_path / "metrics.json").write_text(json.dumps(content))
        return read_final(tmp_path / "metrics.json", METRIC)

    return read_content


Read = Callable[[Any], FinalScores | None]


def test_the_scores_of_a_final_training_are_read_where_there_is_one(tmp_path: Path, read: Read):
    assert read_final(tmp_path / "metrics.json", METRIC) is None
    assert read(FINAL) == SCORES


def test_a_final_training_of_a_time_with_fewer_baselines_is_read(read: Read):
    older = changed(changed(FINAL, "baselines", "paper_setting", to=None), "paired", "paper_setting", to=None)
    scores = read(older)
    assert scores is not None
    assert scores.test.keys() == SCORES.test.keys() - {"paper_setting"}
    assert scores.ahead.keys() == SCORES.ahead.keys() - {"paper_setting"}


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ({}, "lacks trial_id, metrics, baselines, paired"),
        ([], "the whole file must be an object, got []"),
        (3, "the whole file must be an object, got 3"),
        (changed(FINAL, "paired", to=None), "lacks paired"),
        (changed(FINAL, "baselines", to=[]), "baselines must be an object, got []"),
        (changed(FINAL, "trial_id", to=3), "trial_id must be a valid string, got 3"),
        (changed(FINAL, "metrics", METRIC, to=None), f"lacks metrics.{METRIC}"),
        (changed(FINAL, "paired", "siamese_distance", METRIC, to=None), f"lacks paired.siamese_distance.{METRIC}"),
    ],
)
def test_damaged_metrics_are_refused_by_file_and_field(read: Read, content: Any, rule: str):
    with pytest.raises(UserError, match=re.escape(f"metrics.json: {rule}; move its folder away to leave it out.")):
        read(content)


@pytest.mark.parametrize(
    ("place", "key"),
    [(("metrics",), "mean"), (("baselines", "paper_setting"), "mean"), (("paired", "siamese_distance"), "difference")],
)
@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (3, "{field} must be an object, got 3"),
        ([], "{field} must be an object, got []"),
        ({"mean": 0.5, "difference": 0.5}, "lacks {field}.ci95"),
        ({"ci95": [0.4, 0.6]}, "lacks {field}.{key}"),
        ({"mean": 0.5, "difference": 0.5, "ci95": [0.4]}, "lacks {field}.ci95.1"),
        ({"mean": 0.5, "difference": 0.5, "ci95": 0.4}, "{field}.ci95 must be a list, got 0.4"),
        ({"mean": 0.5, "difference": 0.5, "ci95": [0.4, "0.6"]}, '{field}.ci95.1 must be a valid number, got "0.6"'),
        ({"mean": math.nan, "difference": math.nan, "ci95": [0, 1]}, "{field}.{key} must be a finite number, got NaN"),
    ],
)
def test_a_damaged_entry_is_refused_by_its_field(read: Read, place: tuple[str, ...], key: str, entry: Any, rule: str):
    rule = rule.format(field=".".join((*place, METRIC)), key=key)
    with pytest.raises(UserError, match=re.escape(f"metrics.json: {rule}; move its folder away")):
        read(changed(FINAL, *place, METRIC, to=entry))


A, B = Path("a.json"), Path("b.json")


def test_methods_that_answered_the_same_questions_pass():
    check_same_questions(METRIC, [(A, {METRIC: OWN, "other": [1.0]}), (B, {METRIC: [0.0, 0.0]})])
    check_same_questions(METRIC, [])


@pytest.mark.parametrize(
    ("lists", "rule"),
    [
        ({METRIC: [1.0]}, f"b.json: must hold 2 scores of {METRIC} for each method, as a.json does, got 1; remove the"),
        ({"other": OWN}, f"b.json: must hold scores of {METRIC} for each method; remove it."),
    ],
)
def test_a_method_that_did_not_is_refused_by_its_file(lists: Any, rule: str):
    with pytest.raises(UserError, match=re.escape(rule)):
        check_same_questions(METRIC, [(A, {METRIC: OWN}), (B, lists)])
