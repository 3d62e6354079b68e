"""The best value over the epochs spent, in the order in which epochs ended, and the learning curves."""

from collections.abc import Callable
from typing import Any

import pytest

from study.analysis.progress import best_so_far
from study.trials.ledger import Status

Make = Callable[..., Any]


def at(start: int, end: int | None = None) -> dict[str, str]:
    """Return the times of a trial, in seconds after midnight."""
    times = {"started": f"2026-01-01T00:00:{start:02d}.000+00:00"}
    return times if end is None else times | {"ended": f"2026-01-01T00:00:{end:02d}.000+00:00"}


def test_epochs_of_concurrent_trials_are_in_the_order_of_their_ends(make_data: Make, make_trial: Make) -> None:
    """Epochs end at 10, 20, 30 s and at 15, 25 s: those of the second trial are the second and the fourth."""
    records = [make_trial(0, 0.1, 0.2, 0.6, **at(0, 30)), make_trial(1, 0.3, 0.5, **at(5, 25))]
    progress = best_so_far(make_data(records))
    assert [(point.epochs_spent, point.value, point.number, point.epoch) for point in progress.points] == [
        (1, 0.1, 0, 1),
        (2, 0.3, 1, 1),
        (4, 0.5, 1, 2),
        (5, 0.6, 0, 3),
    ]
    assert progress.in_order_of_time
    assert progress.epochs_spent == 5


def test_only_completed_trials_are_the_best_but_all_spend_epochs(make_data: Make, make_trial: Make) -> None:
    records = [
        make_trial(0, 0.9, 0.9, status=Status.STOPPED, **at(0, 10)),
        make_trial(1, 0.9, status=Status.FAILED, **at(11, 15)),
        make_trial(2, 0.4, 0.5, **at(16, 20)),
        make_trial(3, 0.9, status=Status.RUNNING, **at(21)),
    ]
    progress = best_so_far(make_data(records))
    assert [(point.epochs_spent, point.value) for point in progress.points] == [(4, 0.4), (5, 0.5)]
    assert progress.epochs_spent == 6
    assert [curve.stopped_at for curve in progress.curves] == [2, None, None, None]
    assert [curve.is_winner for curve in progress.curves] == [False, False, True, False]
    assert progress.rungs == (3,)


def test_the_last_step_is_the_winner(make_data: Make, make_trial: Make) -> None:
    data = make_data([make_trial(number, number % 7 / 10, 0.2, **at(number, number + 3)) for number in range(20)])
    last = best_so_far(data).points[-1]
    assert (last.trial_id, last.value) == (data.winner.trial_id, data.summary.best[1])


def test_trials_of_version_0_1_are_taken_in_the_order_of_suggestions(make_data: Make, make_trial: Make) -> None:
    progress = best_so_far(make_data([make_trial(0, 0.1, 0.2), make_trial(1, 0.3)]))
    assert not progress.in_order_of_time
    assert [(point.epochs_spent, point.number) for point in progress.points] == [(1, 0), (2, 0), (3, 1)]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_study_without_epochs_has_no_points(make_data: Make, make_trial: Make, mode: str) -> None:
    progress = best_so_far(make_data([make_trial(0, status=Status.RUNNING, **at(0))], mode=mode))
    assert (progress.points, progress.curves, progress.epochs_spent) == ((), (), 0)


def test_a_metric_that_is_minimised_falls(make_data: Make, make_trial: Make) -> None:
    progress = best_so_far(make_data([make_trial(0, 0.5, 0.6, 0.4, **at(0, 9))], mode="min"))
    assert [point.value for point in progress.points] == [0.5, 0.4]


def test_a_curve_is_labelled_by_what_tells_trials_apart(make_data: Make, make_trial: Make) -> None:
    config = {"encoder": "siamese", "supervision": "hybrid", "gate": "OR"}
    (curve,) = best_so_far(make_data([make_trial(0, 0.5, 0.6, config=config)])).curves
    assert (curve.label, curve.epochs, curve.values) == ("siamese hybrid OR", (1, 2), (0.5, 0.6))
