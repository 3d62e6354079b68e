"""The confirmation is read from its ledger: candidates, values, the winner, and why there is none."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from pan_model.objective import Objective
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import Status, TrialRecord
from study.trials.selection.confirmation import count_most_runs, run_config, select_winner

METRIC = "few_shot_accuracy"
OBJECTIVE = Objective(METRIC, "max")
Make = Callable[..., Any]


@pytest.fixture
def files(tmp_path: Path) -> DatasetPaths:
    return StudyPaths(tmp_path).dataset("demo")


@pytest.fixture
def records(record: Make) -> list[TrialRecord]:
    """Four completed trials, the best second, and a better one that was stopped."""
    values = ((0.5,), (0.6, 0.9, 0.8), (0.8, 0.7), (0.7,))
    completed = [record(number, Status.COMPLETED, *of_trial) for number, of_trial in enumerate(values)]
    return [*completed, record(4, Status.STOPPED, 1.0)]


@pytest.fixture
def confirm(files: DatasetPaths, write_runs: Make) -> Make:
    """Write the runs that confirm a trial of `files`."""
    return partial(write_runs, files)


def test_candidates_are_the_best_completed_trials_on_val(files: DatasetPaths, records: list[TrialRecord]):
    selection = select_winner(files, OBJECTIVE, records, 3)
    assert [(c.record.number, c.value, c.epoch) for c in selection.candidates] == [
        (1, 0.9, 2),
        (2, 0.8, 1),
        (3, 0.7, 1),
    ]
    assert (selection.winner, selection.chosen, selection.missing) == ((records[1], 0.9, 2), None, 9)
    assert selection.why_not == "0 of 9 runs of the confirmation have ended"
    fewer = select_winner(files, OBJECTIVE, records[:2], 3)
    assert (len(fewer.candidates), fewer.missing) == (2, 6)
    none = select_winner(files, OBJECTIVE, records[4:], 3)
    assert (none.winner, none.missing, none.why_not) == (None, 0, "")
    off = select_winner(files, OBJECTIVE, records, 0)
    assert (off.winner, off.missing, off.why_not) == ((records[1], 0.9, 2), 0, "--confirm 0")


def test_the_winner_is_the_best_mean_over_seeds_on_fresh_questions(
    files: DatasetPaths, records: list[TrialRecord], confirm: Make
):
    confirm(records[1], 2, [0.5, 0.5], [0.5, 1.0], [0.5, 0.0])
    confirm(records[2], 1, [0.5, 1.0], [0.5, 1.0], [0.5, 1.0])
    assert select_winner(files, OBJECTIVE, records, 3).chosen is None, "the third has not been confirmed"
    selection = select_winner(files, OBJECTIVE, records, 2)
    assert selection.chosen is not None
    assert selection.chosen.confirmed is not None
    assert selection.winner == (records[2], 0.8, 1)
    assert selection.chosen.confirmed.mean == 0.75
    assert (selection.chosen.per_seed, selection.chosen.num_questions) == ([0.75] * 3, 6)
    assert (selection.why_not, selection.epochs_spent) == ("", 3 * 2 + 3 * 1)


def test_the_winner_is_compared_with_the_best_first_trial(
    files: DatasetPaths, records: list[TrialRecord], confirm: Make
):
    first = [records[2].config, {"num_conditions": -1}]
    confirm(records[1], 2, [0.5, 0.5], [0.5, 1.0], [0.5, 0.0])
    assert select_winner(files, OBJECTIVE, records[:3], 2, first).best_first is None, "not confirmed yet"
    confirm(records[2], 1, [0.5, 0.0], [0.5, 0.5], [0.5, 0.5])
    selection = select_winner(files, OBJECTIVE, records[:3], 2, first)
    assert selection.chosen is not None
    assert selection.best_first is not None
    assert (selection.chosen.record, selection.best_first.record) == (records[1], records[2])
    assert [candidate.is_first for candidate in selection.candidates] == [False, True]
    lead = selection.chosen.ahead_of(selection.best_first)
    assert lead is not None
    assert lead.mean == pytest.approx(0.5 - 2.5 / 6)
    assert lead.low < 0 < lead.high
    none = select_winner(files, OBJECTIVE, records[:3], 2)
    assert none.best_first is None


def test_candidates_are_compared_over_the_seeds_that_both_have(
    files: DatasetPaths, records: list[TrialRecord], confirm: Make
):
    confirm(records[1], 2, [0.5, 0.5], [0.5, 1.0], [0.5, 0.0])
    confirm(records[2], 1, [0.5, 0.0], None, [0.25, 0.0])
    one, other = select_winner(files, OBJECTIVE, records, 2).candidates
    lead = one.ahead_of(other)
    assert lead is not None
    assert lead.mean == pytest.approx((0.0 + 0.5 + 0.25 + 0.0) / 4)
    assert replace(one, objective=Objective(METRIC, "min")).ahead_of(other) == -lead


def test_a_run_that_failed_on_hard_classes_makes_no_winner(
    files: DatasetPaths, records: list[TrialRecord], confirm: Make
):
    confirm(records[1], 2, [0.9, 0.9], [0.3, 0.3], [0.9, 0.9])
    confirm(records[2], 1, [0.8, 0.8], None, [0.8, 0.8])
    selection = select_winner(files, OBJECTIVE, records, 2)
    first, second = (candidate.confirmed for candidate in selection.candidates)
    assert first is not None
    assert second is not None
    assert first.mean < second.mean
    assert selection.winner == (records[1], 0.9, 2)


def test_without_a_common_seed_nothing_is_compared_and_the_best_mean_wins(
    files: DatasetPaths, records: list[TrialRecord], confirm: Make
):
    confirm(records[1], 2, [0.5, 0.5], None, None)
    confirm(records[2], 1, None, [0.75, 0.75], [0.5, 0.5])
    selection = select_winner(files, OBJECTIVE, records, 2)
    one, other = selection.candidates
    assert one.ahead_of(other) is None
    assert selection.winner == (records[2], 0.8, 1)


@pytest.mark.parametrize(
    ("confirm", "num_trials", "num_first", "runs"), [(3, 64, 6, 27), (3, 4, 6, 12), (1, 64, 0, 3), (0, 64, 6, 0)]
)
def test_the_most_runs_of_a_confirmation_are_counted(confirm: int, num_trials: int, num_first: int, runs: int):
    assert count_most_runs(confirm, num_trials, num_first) == runs


def test_the_better_on_val_wins_if_both_are_equally_good(
    files: DatasetPaths, records: list[TrialRecord], confirm: Make
):
    for record, epoch in ((records[1], 2), (records[2], 1)):
        confirm(record, epoch, [0.5, 1.0], [0.5, 1.0], [0.5, 1.0])
    assert select_winner(files, OBJECTIVE, records, 2).winner == (records[1], 0.9, 2)


def test_failed_runs_are_left_out_of_the_mean(files: DatasetPaths, records: list[TrialRecord], confirm: Make):
    confirm(records[1], 2, None, None, None)
    confirm(records[2], 1, None, [0.25, 0.5], [0.5, 0.75])
    selection = select_winner(files, OBJECTIVE, records, 2)
    assert selection.chosen is not None
    assert selection.chosen.confirmed is not None
    assert selection.winner == (records[2], 0.8, 1)
    assert selection.chosen.confirmed.mean == 0.5
    assert (selection.chosen.judged_seeds, len(selection.chosen.failed)) == ([2, 3], 1)
    alone = select_winner(files, OBJECTIVE, records[:2], 1)
    assert (alone.winner, alone.why_not) == ((records[1], 0.9, 2), "all 3 runs of the confirmation failed")


def test_runs_of_another_epoch_do_not_confirm(files: DatasetPaths, records: list[TrialRecord], confirm: Make):
    confirm(records[1], 3, [0.5], [0.5], [0.5])
    assert select_winner(files, OBJECTIVE, records, 1).missing == 3


def test_runs_with_other_numbers_of_questions_are_refused(
    files: DatasetPaths, records: list[TrialRecord], confirm: Make
):
    confirm(records[1], 2, [0.5, 0.5], [0.5])
    confirm(records[2], 1, [0.5, 0.5], [0.5, 1.0])
    assert select_winner(files, OBJECTIVE, records, 1).missing == 1, "each seed has questions of its own"
    with pytest.raises(
        UserError, match=r"seed2/best_epoch\.json: must hold 1 scores .* got 2; remove .* train the run"
    ):
        select_winner(files, OBJECTIVE, records, 2)


def test_a_run_is_the_trial_up_to_its_epoch_from_another_seed_without_early_stopping():
    config: dict[str, Any] = {"max_epochs": 9, "seed": 4, "patience": 3, "learning_rate": 0.1}
    trial = TrialRecord(trial_id="t", number=0, config=config, status=Status.COMPLETED)
    expected = config | {"max_epochs": 2, "schedule_epochs": 9, "seed": 5, "patience": 0}
    assert run_config(trial, 2, 5) == expected
    longer = replace(trial, config=config | {"max_epochs": 18, "schedule_epochs": 9})
    assert run_config(longer, 12, 5) == expected | {"max_epochs": 12}
