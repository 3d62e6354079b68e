"""Effects of parameters: planted ones are found, stopped trials have no value, and few trials say nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from study.analysis.effects import ALL_GATES, CONFOUNDING, Effect, Level, describe_batches, find_effects
from study.analysis.study_data import DatasetData
from study.trials.ledger import Status, TrialRecord

Make = Callable[..., Any]


def labelled(gate: str, lambda_: float) -> dict[str, Any]:
    return {"config": {"supervision": "supervised", "gate": gate, "lambda": lambda_}}


def level(effect: Effect, label: str) -> Level:
    return next(level for level in effect.series[0].levels if level.label == label)


@pytest.fixture
def planted(make_data: Make, make_trial: Make) -> DatasetData:
    """Trials with the gate XNOR are better, whatever λ is."""
    noise = np.random.default_rng(0).normal(0, 0.01, 24)
    records = [
        make_trial(number, value + noise[number], **labelled(gate, 0.1))
        for number, (gate, value) in enumerate([("XNOR", 0.8), ("OR", 0.6)] * 12)
    ]
    return make_data(records)


def test_a_planted_gate_is_found(planted: DatasetData) -> None:
    effect = find_effects(planted).gate
    assert [level.label for level in effect.series[0].levels] == ["XNOR", "OR"]
    assert effect.chance <= 0.001
    assert effect.verdict.startswith(
        "The groups differ by more than chance (p = 0.001); XNOR has the best median, 0.79"
    )
    assert effect.verdict.endswith("over 12 full-length trials.")


def test_a_parameter_without_effect_is_not_found(planted: DatasetData) -> None:
    effect = find_effects(planted).num_conditions
    assert effect.chance > 0.01
    assert effect.verdict.endswith("this study does not tell them apart.")


def test_of_a_metric_that_is_minimised_the_smallest_median_is_best(make_data: Make, planted: DatasetData) -> None:
    effect = find_effects(make_data(planted.records, mode="min")).gate
    assert "; OR has the best median, 0." in effect.verdict
    assert level(effect, "OR").best == min(point.value for point in level(effect, "OR").points)


def test_stopped_and_failed_trials_are_counted_apart(make_data: Make, make_trial: Make) -> None:
    records = [
        make_trial(0, 0.5, 0.7, **labelled("OR", 0.1)),
        make_trial(1, 0.9, status=Status.STOPPED, **labelled("OR", 0.1)),
        make_trial(2, 0.8, status=Status.FAILED, **labelled("OR", 0.1)),
        make_trial(3, 0.8, status=Status.RUNNING, **labelled("OR", 0.1)),
    ]
    found = level(find_effects(make_data(records)).gate, "OR")
    assert (found.num_full, found.num_stopped, found.num_failed) == (1, 1, 1)
    assert (found.mean, found.median, found.best, found.interval, found.median_ci95) == (0.7, 0.7, 0.7, None, None)
    assert found.points[0].is_winner


def test_lambda_is_grouped_by_decades_up_to_its_top(make_data: Make, make_trial: Make) -> None:
    values = (1e-5, 9.9e-5, 1e-4, 0.5, 10.0)
    records = [make_trial(number, 0.5, **labelled("OR", value)) for number, value in enumerate(values)]
    series = find_effects(make_data(records)).lambda_.series
    assert [curve.name for curve in series] == [ALL_GATES, "OR"]
    assert [(level.label, level.num_full) for level in series[0].levels] == [
        ("1e-05 to 0.0001", 2),
        ("0.0001 to 0.001", 1),
        ("0.001 to 0.01", 0),
        ("0.01 to 0.1", 0),
        ("0.1 to 1", 1),
        ("1 to 10", 1),
    ]
    assert [point.x for point in series[0].levels[0].points] == [1e-5, 9.9e-5]
    assert series[0].levels[-1].centre == pytest.approx(10**0.5)


@pytest.mark.parametrize("value", [1.0, 10.0, 1e-5, 0.02])
def test_one_value_of_lambda_makes_one_group(make_data: Make, make_trial: Make, value: float) -> None:
    records = [make_trial(number, 0.5, **labelled("OR", value)) for number in range(3)]
    effect = find_effects(make_data(records)).lambda_
    assert [level.num_full for level in effect.series[0].levels] == [3]
    assert effect.verdict.startswith("All 3 full-length trials are of one group")


def test_unsupervised_trials_stand_beside_lambda(make_data: Make, make_trial: Make, random_configs: Any) -> None:
    unlabelled = [number for number in range(40) if "lambda" not in random_configs[number]]
    effect = find_effects(make_data([make_trial(number, 0.5) for number in range(40)])).lambda_
    assert effect.without.num_full == len(unlabelled)
    assert effect.num_full == 40 - len(unlabelled)


def test_every_number_of_conditions_has_a_group(make_data: Make, make_trial: Make) -> None:
    counts = enumerate((1, 3, 4, 255, 256, 512))
    records = [make_trial(number, 0.5, config={"num_conditions": count}) for number, count in counts]
    levels = find_effects(make_data(records)).num_conditions.series[0].levels
    assert [level.label for level in levels] == ["1 to 3", "4 to 15", "16 to 63", "64 to 255", "256 to 512"]
    assert [level.num_full for level in levels] == [2, 1, 0, 1, 2]


def test_batches_are_named_by_what_a_step_sees(make_data: Make, make_trial: Make) -> None:
    effect = find_effects(make_data([make_trial(number, 0.5) for number in range(60)])).batches
    assert {level.label for level in effect.series[0].levels} == {
        "whole batch",
        "4 mini-batches",
        "16 mini-batches",
        "class-balanced, 1 step",
        "class-balanced, 4 steps",
        "class-balanced, 16 steps",
    }
    assert effect.num_full == 60
    assert describe_batches({"encoder": "siamese"}) is None


def test_few_trials_say_nothing(make_data: Make, make_trial: Make) -> None:
    records: list[TrialRecord] = []
    effects = find_effects(make_data(records))
    assert {effect.missing for effect in effects.every} == {
        "No trial has run to its end yet, so there is no value to show."
    }
    assert all(not effect.series and effect.num_full == 0 for effect in effects.every)
    records = [make_trial(0, 0.5, **labelled("OR", 0.1)), make_trial(1, 0.6, **labelled("AND", 0.1))]
    effect = find_effects(make_data(records)).gate
    assert effect.verdict == "Too few full-length trials to say whether the groups differ."
    assert effects.confounding == CONFOUNDING


def test_a_study_without_labels_says_that_there_is_no_lambda(make_data: Make, make_trial: Make) -> None:
    config = {"encoder": "siamese", "supervision": "unsupervised", "num_conditions": 4}
    record = make_trial(0, 0.5)
    effects = find_effects(make_data([TrialRecord(**{**vars(record), "config": config})]))
    assert effects.lambda_.missing == "No full-length trial has this parameter (λ, by gate)."
    assert effects.batches.missing
    assert effects.supervision.num_full == 1
