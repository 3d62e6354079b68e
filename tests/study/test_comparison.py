"""PAN beside its baselines, on a winner written by hand."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import BadInput
from pan_model.metrics import Interval
from study.baseline_scores import BASELINES
from study.comparison import MethodScores, compare_methods, read_final
from study.files import write_json
from study.ledger import BestEpoch, Status, TrialRecord

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


@pytest.fixture
def winner(record: Callable[..., TrialRecord]) -> TrialRecord:
    """A trial whose best epoch is the second, in which it was as good as 0.9 on train."""
    one = record(0, Status.COMPLETED, 0.5, 0.75, 0.75)
    history = [epoch | {f"train/{METRIC}": train} for epoch, train in zip(one.history, (0.8, 0.9, 1.0), strict=True)]
    best = BestEpoch(epoch=2, questions={METRIC: OWN}, baselines=NORMALISED)
    return replace(one, history=history, best=best)


def test_pan_comes_first_then_every_baseline_in_the_order_of_tables(winner: TrialRecord):
    for baselines, final in (({}, None), (SHARED, None), (SHARED, FINAL)):
        scores = compare_methods(METRIC, winner, 2, baselines, final)
        assert [one.method for one in scores] == ["PAN", *BASELINES]


def test_on_val_all_answer_the_same_questions(winner: TrialRecord):
    pan, *others = compare_methods(METRIC, winner, 2, SHARED, None)
    half = 1.96 * 0.25  # the deviation of 0.5 and 1 is sqrt(2) / 4, and there are two of them
    assert (pan.train, pan.val_ahead, pan.test) == (0.9, None, None)
    assert pan.val == pytest.approx((0.75, 0.75 - half, 0.75 + half))
    for one in others:
        level = 1.0 if one.method in NORMALISED else 0.25
        assert one.val == (level, level, level)
        assert one.val_ahead == pytest.approx((0.75 - level, 0.75 - level - half, 0.75 - level + half))
        assert (one.train, one.test, one.test_ahead) == (None, None, None)


def test_on_test_the_numbers_are_those_of_the_final_training(winner: TrialRecord):
    pan, *others = compare_methods(METRIC, winner, 2, SHARED, FINAL)
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
        pan, *others = compare_methods(METRIC, one, 2, SHARED, FINAL)
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


def test_a_final_training_counts_for_its_own_trial_alone(tmp_path: Path):
    path = tmp_path / "final" / "metrics.json"
    assert read_final(path, "trial0") is None
    write_json(path, FINAL)
    assert read_final(path, "trial0") == FINAL
    assert read_final(path, "trial1") is None


@pytest.mark.parametrize("content", [{}, [], {key: FINAL[key] for key in FINAL if key != "paired"}])
def test_metrics_that_are_none_are_refused_by_their_file(tmp_path: Path, content: Any):
    path = tmp_path / "metrics.json"
    write_json(path, content)
    rule = "must hold baselines, metrics, paired, trial_id; move its folder away to leave it out."
    with pytest.raises(BadInput, match=re.escape(f"{path}: {rule}")):
        read_final(path, "trial0")
