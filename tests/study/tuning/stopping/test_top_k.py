"""The one-epoch rule: which trials continue, when a study is resumed too, and what it costs compared with ASHA."""

import random
from collections.abc import Callable
from typing import Any, Literal

import pytest
from ray.tune.schedulers import ASHAScheduler

from pan_model.objective import Objective
from study.trials.ledger import Status, TrialRecord
from study.tuning.serial_executor import SerialTrial
from study.tuning.stopping.top_k import TopKRule, comparable_k

METRIC = "few_shot_accuracy"
Make = Callable[..., TrialRecord]


def rule(k: int, mode: Literal["max", "min"] = "max") -> TopKRule:
    return TopKRule(Objective(METRIC, mode), k)


def continuing(of: TopKRule, *values: float) -> list[bool]:
    return [not of.stops(f"id-{number}", {}, 1, value) for number, value in enumerate(values)]


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_a_trial_continues_among_the_best_k_so_far(mode: Literal["max", "min"], sign: int):
    values = [sign * value for value in (0.1, 0.2, 0.15, 0.3, 0.3, 0.3, 0.05)]
    assert continuing(rule(2, mode), *values) == [True, True, True, True, True, False, False]


def test_it_equals_a_slow_count_in_any_order():
    generator = random.Random(0)
    for _ in range(50):
        values, k = [generator.randrange(8) / 8 for _ in range(20)], generator.randint(1, 6)
        slow = [sum(before >= value for before in values[:place]) < k for place, value in enumerate(values)]
        assert continuing(rule(k), *values) == slow


def test_only_the_first_epoch_decides():
    of = rule(1)
    assert not of.stops("a", {}, 1, 0.9)
    assert not of.stops("a", {}, 2, 0.0)
    assert of.stops("b", {}, 1, 0.5)


def test_a_resumed_study_has_the_first_epochs_of_its_ledger(record: Make):
    of = rule(2)
    for written in (
        record(0, Status.COMPLETED, 0.1, 0.9),
        record(1, Status.STOPPED, 0.5),
        record(2, Status.RUNNING, 0.9),  # interrupted before it was compared
        record(3, Status.RUNNING, 0.4, 0.4),
        record(4, Status.FAILED),
    ):
        of.add(written)
        of.add(written)
    assert not of.stops("trial3", {}, 3, 0.0)
    assert of.stops("trial5", {}, 1, 0.4)
    assert not of.stops("trial2", {}, 2, 0.6)
    assert of.stops("trial6", {}, 1, 0.5)


@pytest.mark.parametrize(("num_trials", "max_epochs", "grace"), [(32, 20, 7), (64, 20, 7), (64, 9, 3)])
def test_k_is_chosen_so_that_the_epochs_are_those_of_asha(num_trials: int, max_epochs: int, grace: int):
    k, spent, of_asha = comparable_k(num_trials, max_epochs, grace, 3.0), 0, 0
    generator = random.Random(0)
    for _ in range(40):
        values = generator.sample(range(1000), num_trials)
        spent += sum(max_epochs if goes_on else 1 for goes_on in continuing(rule(k), *values))
        asha = ASHAScheduler("epoch", METRIC, "max", max_t=max_epochs, grace_period=grace, reduction_factor=3)
        for number, value in enumerate(values):
            trial: Any = SerialTrial(str(number), {})
            asha.on_trial_add(None, trial)  # pyright: ignore[reportArgumentType]
            for epoch in range(1, max_epochs + 1):
                of_asha += 1
                if asha.on_trial_result(None, trial, {"epoch": epoch, METRIC: value}) == "STOP":  # pyright: ignore[reportArgumentType]
                    break
    assert 0.8 < spent / of_asha < 1.25


def test_k_is_at_least_one_and_at_most_all():
    assert comparable_k(1, 20, 7, 3.0) == 1
    assert comparable_k(8, 9, 9, 3.0) == 8
    assert comparable_k(500, 81, 1, 3.0) >= 1
