"""Early stopping: rungs as ASHA has them, their correlation with the end, and the bound on wrong stops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import ASHAScheduler

from study.analysis.stopping import find_stopping, rung_epochs
from study.trials.ledger import Status

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("grace", "factor", "max_epochs"),
    [(3, 3.0, 9), (7, 3.0, 20), (1, 3.0, 81), (2, 2.5, 30), (1, 2.0, 100), (9, 3.0, 9)],
)
def test_rungs_are_those_of_asha(make_data: Make, grace: int, factor: float, max_epochs: int) -> None:
    asha = ASHAScheduler(time_attr="epoch", max_t=max_epochs, grace_period=grace, reduction_factor=factor)
    milestones = [milestone for milestone, _ in asha._brackets[0]._rungs]
    expected = sorted({int(np.ceil(milestone)) for milestone in milestones if np.ceil(milestone) < max_epochs})
    signed = {"scheduler": "asha", "reduction_factor": factor}
    data = make_data([], signed=signed, max_epochs=max_epochs, grace_epochs=grace)
    assert list(rung_epochs(data)) == expected


def history(at_rung: float, final: float) -> list[float]:
    return [0.1, 0.1, at_rung, *[at_rung] * 5, final]


def test_a_rung_that_predicts_perfectly_has_correlation_1(make_data: Make, make_trial: Make) -> None:
    records = [make_trial(number, *history(0.3 + number / 100, 0.6 + number / 100)) for number in range(12)]
    (rung,) = find_stopping(make_data(records)).rungs
    assert (rung.epoch, rung.num_reached, rung.num_stopped, rung.num_went_on) == (3, 12, 0, 12)
    assert rung.spearman.mean == pytest.approx(1)
    assert rung.kendall.mean == pytest.approx(1)
    assert rung.num_best_before == 0
    assert rung.wrong_stops is None


def test_a_rung_that_predicts_nothing_has_an_interval_around_0(make_data: Make, make_trial: Make) -> None:
    final = np.random.default_rng(3).permutation(30) / 100 + 0.6
    records = [make_trial(number, *history(0.3 + number / 100, final[number])) for number in range(30)]
    (rung,) = find_stopping(make_data(records)).rungs
    assert rung.spearman.low < 0 < rung.spearman.high


def test_stopped_failed_and_running_trials_have_no_final_value(make_data: Make, make_trial: Make) -> None:
    records = [make_trial(number, *history(0.3 + number / 100, 0.6 + number / 100)) for number in range(8)]
    records += [
        make_trial(8, 0.1, 0.1, 0.2, status=Status.STOPPED),
        make_trial(9, 0.1, 0.1, 0.9, 0.9, status=Status.FAILED),
        make_trial(10, 0.1, 0.1, 0.9, 0.9, status=Status.RUNNING),
        make_trial(11, 0.1, 0.1),  # ended by its own patience before the rung
        make_trial(13, 0.2, 0.1, 0.1),  # ended by its own patience at the rung
        make_trial(12, 0.1, 0.1, 0.1, 0.1, status=Status.STOPPED),  # of a study with other rungs
    ]
    stopping = find_stopping(make_data(records))
    (rung,) = stopping.rungs
    assert (rung.num_reached, rung.num_stopped, rung.num_ended, rung.num_went_on) == (13, 1, 1, 8)
    assert (stopping.num_stopped, stopping.num_stopped_elsewhere, stopping.num_stopped_above) == (2, 1, 0)
    assert (stopping.epochs_saved, stopping.epochs_saved_by_patience) == (6 + 5, 7 + 6)
    assert stopping.epochs_spent == 8 * 9 + 3 + 4 + 4 + 2 + 3 + 4


def test_wrong_stops_are_bounded_by_trials_as_weak_at_the_rung(make_data: Make, make_trial: Make) -> None:
    """Of ten trials no better at the rung than the one stopped, none became the winner: at most 1 - 0.05^(1/10)."""
    records = [make_trial(number, *history(0.2, 0.5)) for number in range(10)]
    records += [make_trial(10, *history(0.6, 0.8)), make_trial(11, 0.1, 0.1, 0.25, status=Status.STOPPED)]
    wrong = find_stopping(make_data(records)).rungs[0].wrong_stops
    assert (wrong.num_comparable, wrong.num_became_best) == (10, 0)
    assert wrong.bound == pytest.approx(1 - 0.05 ** (1 / 10))
    assert wrong.needed == pytest.approx(0.8 - 0.25)
    assert wrong.num_gained == 0
    assert wrong.largest_gain == pytest.approx(0.3)
    assert "at most 26% (95% bound)" in wrong.sentence
    assert wrong.sentence.startswith("Could it have stopped a better trial? Unlikely, not excluded.")
    assert "Of 11 full-length trials that went on, none later gained that much (at most 0.3000)" in wrong.sentence


def test_first_trials_show_nothing_about_wrong_stops(make_data: Make, make_trial: Make) -> None:
    records = [make_trial(number, *history(0.2, 0.5)) for number in range(3)]
    records += [make_trial(3, *history(0.6, 0.8)), make_trial(4, 0.1, 0.1, 0.25, status=Status.STOPPED)]
    space = {"first_trials": [record.config for record in records[:2]], "parameters": {}}
    for entry, comparable in (({}, 3), ({"space": space}, 1)):
        wrong = find_stopping(make_data(records, **entry)).rungs[0].wrong_stops
        assert wrong.num_comparable == comparable


def test_without_comparable_trials_nothing_bounds_wrong_stops(make_data: Make, make_trial: Make) -> None:
    records = [make_trial(0, *history(0.6, 0.8)), make_trial(1, 0.1, 0.1, 0.25, status=Status.STOPPED)]
    wrong = find_stopping(make_data(records)).rungs[0].wrong_stops
    assert (wrong.num_comparable, wrong.bound) == (0, 1.0)
    assert wrong.sentence.endswith("so nothing bounds the chance.")


def test_a_winner_that_was_weak_at_the_rung_widens_the_bound(make_data: Make, make_trial: Make) -> None:
    records = [make_trial(0, *history(0.2, 0.9)), make_trial(1, 0.1, 0.1, 0.25, status=Status.STOPPED)]
    wrong = find_stopping(make_data(records)).rungs[0].wrong_stops
    assert (wrong.num_comparable, wrong.num_became_best, wrong.bound) == (1, 1, 1.0)
    assert wrong.sentence.startswith("Could it have stopped a better trial? That is not known.")
    assert "1 (trial 0, trial0) later gained that much" in wrong.sentence
    assert wrong.sentence.endswith("1 became the winner: too few for a rate.")


def test_a_stopped_trial_can_have_been_better_than_the_winner(make_data: Make, make_trial: Make) -> None:
    records = [make_trial(0, *history(0.6, 0.8)), make_trial(1, 0.9, 0.1, 0.25, status=Status.STOPPED)]
    assert find_stopping(make_data(records)).num_stopped_above == 1


@pytest.mark.parametrize("num_trials", [0, 1, 2])
def test_few_trials_say_nothing(make_data: Make, make_trial: Make, num_trials: int) -> None:
    records = [make_trial(number, *history(0.6, 0.8 + number / 100)) for number in range(num_trials)]
    (rung,) = find_stopping(make_data(records)).rungs
    assert rung.spearman is None
    assert rung.verdict.startswith("Too few trials to say")


def test_a_study_without_early_stopping_says_so(make_data: Make, make_trial: Make) -> None:
    stopping = find_stopping(make_data([make_trial(0, 0.5)], signed={"scheduler": "none", "reduction_factor": 3.0}))
    assert not stopping.rungs
    assert stopping.missing == "The study ran with --scheduler none: no trial was stopped early."
    one_epoch = find_stopping(make_data([make_trial(0, 0.5)], max_epochs=1, grace_epochs=1))
    assert one_epoch.missing == "There is no rung: grace_epochs are not below max_epochs, 1."
