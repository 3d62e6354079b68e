"""Test PASHA on learning curves made by hand: when a rung opens, the epochs that count, and who wins."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pan_model.objective import Objective
from study.trials.ledger import Status, TrialRecord

STEADY = [[value + 0.001 * epoch for epoch in range(27)] for value in (0.5, 0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.6, 0.4)]
"""Nine trials that improve alike, so that no two curves cross."""

LATE = [[0.9] * 9, [0.8, 0.8, 0.95, *[0.96] * 6], *[[0.1] * 9] * 4]
"""The second trial overtakes the first one between the first two rungs."""


@pytest.fixture
def pasha(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module under test, imported as the benchmarks import each other."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return __import__("pasha")


def test_consistent_rankings_open_no_rung(pasha: Any):
    run = pasha.run_pasha(STEADY, 27)
    assert run.max_epochs == 3
    assert run.winner == 1
    # Of 3 trials the second is promoted, of 6 the fourth, of 9 the sixth; the others keep their first epoch.
    assert run.epochs == [1, 3, 1, 3, 1, 3, 1, 1, 1]


def test_a_changed_ranking_opens_the_next_rung(pasha: Any):
    run = pasha.run_pasha(LATE, 27)
    assert run.max_epochs == 9
    assert run.epochs == [3, 3, 1, 1, 1, 1]  # two trials on a rung of 3 epochs are too few to promote one
    assert run.winner == 1


def test_with_all_rungs_open_the_best_trial_is_promoted_whatever_the_rankings(pasha: Any):
    run = pasha.run_pasha(STEADY, 27, open_rungs=None)
    assert run.epochs == [1, 9, 1, 3, 1, 3, 1, 1, 1]
    assert run.max_epochs == 27


def test_a_promoted_trial_continues_where_it_was_paused(pasha: Any):
    run = pasha.run_pasha([*LATE, [0.85] * 9, *[[0.1] * 9] * 2], 27)
    assert run.max_epochs == 9
    assert run.epochs == [3, 9, 1, 1, 1, 1, 3, 1, 1]


def test_the_last_rung_is_the_last_epoch(pasha: Any):
    assert pasha.run_pasha(LATE, 3).max_epochs == 3
    run = pasha.run_pasha([[0.5], [0.6]], 1)
    assert (run.max_epochs, run.epochs, run.winner) == (1, [1, 1], 1)


def test_a_trial_whose_patience_ran_out_reaches_no_further_rung(pasha: Any):
    run = pasha.run_pasha([[0.9, 0.9], [0.8] * 9, [0.7] * 9, *[[0.1]] * 6], 27)
    assert run.epochs == [2, 3, 3, 1, 1, 1, 1, 1, 1]
    assert run.max_epochs == 3


def test_a_trial_that_is_not_paused_runs_to_its_end(pasha: Any):
    run = pasha.run_pasha(STEADY, 27, never_paused={2})
    assert run.epochs == [1, 3, 27, 3, 1, 3, 1, 1, 1]
    assert run.winner == 1


def test_a_swap_within_the_noise_opens_no_rung(pasha: Any):
    noisy = [[0.90, 0.80, 0.90], [0.88, 0.89, 0.85]]  # they cross twice, and are 0.05 apart in the end
    rest = [[0.1] * 3] * 7
    calm, swapped = [0.6, 0.6, 0.6], [0.58, 0.62, 0.62]  # 0.02 apart on the rung below
    assert pasha.run_pasha([*noisy, calm, swapped, *rest, *rest], 27).max_epochs == 3
    assert pasha.run_pasha([[0.9] * 3, [0.8] * 3, calm, swapped, *rest, *rest], 27).max_epochs == 9


def test_noise_is_that_of_curves_that_cross_and_cross_back(pasha: Any):
    generator = np.random.default_rng(0)
    for _ in range(20):
        curves = [list(generator.random(generator.integers(1, 12))) for _ in range(6)]
        distances = []
        for place, first in enumerate(curves):
            for second in curves[:place]:
                both = min(len(first), len(second), 9)
                above = [a > b for a, b in zip(first[:both], second[:both], strict=True)]
                back = any(above[i] == above[both - 1] != above[j] for j in range(both - 1) for i in range(j))
                if both > 3 and back:
                    distances.append(abs(first[both - 1] - second[both - 1]))
        expected = np.percentile(distances, 90) if distances else None
        assert pasha.ranking_noise(curves, 3, 9) == pytest.approx(expected)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_replay_counts_epochs_and_the_value_lost(pasha: Any, mode: Any):
    replay, sign = __import__("replay"), 1 if mode == "max" else -1
    curves = [[0.5] * 9, [0.8, 0.8, 0.8, *[0.85] * 5, 0.9], [0.6] * 8 + [0.95]]
    trials = [
        TrialRecord(
            trial_id=f"trial-{number}",
            number=number,
            config={"gate": "OR"},
            status=Status.COMPLETED,
            history=[{"epoch": epoch, "score": sign * value} for epoch, value in enumerate(curve, 1)],
        )
        for number, curve in enumerate(curves)
    ]
    study = replay.RecordedStudy(
        name="hand, made",
        objective=Objective("score", mode),
        max_epochs=9,
        trials=trials,
        scores={},
        first_trials=[{"gate": "XOR"}],
    )
    paused = replay.replay_pasha(study, trials)
    assert (paused.epochs, paused.missed_best) == (1 + 3 + 1, True)
    assert paused.lost == pytest.approx(0.95 - 0.8)
    completed = replay.replay_pasha(study, trials, complete_winner=True)
    assert (completed.epochs, completed.missed_best) == (1 + 9 + 1, True)
    assert completed.lost == pytest.approx(0.95 - 0.9)
