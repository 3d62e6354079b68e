"""The counts of a search compared with its ledger."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.objective import Objective
from study.terminal import join_rows
from study.trials.ledger import Status, TrialRecord, count_ended
from study.trials.trial import TrialSpec
from study.tuning.progress import SearchProgress, describe_trial, ended_line, progress_row, trials_row

METRIC = "few_shot_accuracy"
Make = Callable[..., TrialRecord]


@pytest.mark.parametrize(("mode", "better"), [("max", max), ("min", min)])
@given(data=st.data())
def test_it_says_what_the_ledger_says(
    mode: Literal["max", "min"], better: Any, record: Make, epochs: Any, data: st.DataObject
):
    statuses = data.draw(st.lists(st.sampled_from(Status), max_size=6))
    known = data.draw(st.integers(0, len(statuses)))
    histories = [data.draw(st.lists(st.floats(0, 1), max_size=3)) for _ in statuses]
    records = [
        TrialRecord(trial_id=f"t{number}", number=number, config={}, status=status, history=epochs(*values))
        for number, (status, values) in enumerate(zip(statuses, histories, strict=True))
    ]
    progress = SearchProgress(records[:known], Objective(METRIC, mode))
    for trial in records:  # those that are known already run again, or end again
        progress.trial_started(trial.trial_id)
        for epoch in trial.history:
            progress.epoch_reported(float(epoch[METRIC]))
        if trial.status is Status.FAILED:
            progress.epoch_reported(float("nan"))
        if trial.status is not Status.RUNNING:
            progress.trial_finished(trial)
    assert +progress.counts == Counter(statuses)
    assert progress.ended == count_ended(records)
    assert progress.best == better((value for values in histories for value in values), default=None)


def test_what_runs_is_shown_with_its_epoch(record: Make, suggested: Callable[[int], dict[str, Any]]):
    progress = SearchProgress([record(0, Status.COMPLETED, 0.5, 0.6)], Objective(METRIC, "max"))
    config = {**suggested(1), "encoder": "siamese", "supervision": "hybrid", "gate": "XNOR", "lambda": 0.1}
    specs = [
        TrialSpec.from_flat(trial_id=f"trial{number}", number=number, dataset="demo", config=config)
        for number in range(1, 6)
    ]
    for spec in specs:
        progress.trial_started(spec.trial_id, describe_trial(spec))
    progress.epoch_ended(specs[0], 1, 0.7)
    progress.epoch_ended(specs[0], 2, 0.65)
    counts = "best 0.7000 | 1 done, 5 running | 4 epochs"
    now = "now #1 siamese hybrid XNOR 2/9, #2 siamese hybrid XNOR, #3 siamese hybrid XNOR, 2 more"
    assert shown(8, progress, 1, 1.0) == f"demo 1/8 | {counts} | {now}"
    for spec in specs:
        progress.trial_finished(record(spec.number, Status.STOPPED, 0.7, 0.65))
    assert progress.running == {}
    assert progress.epochs == 12


def test_a_trial_that_goes_on_is_one(record: Make):
    progress = SearchProgress([record(0, Status.RUNNING, 0.5)], Objective(METRIC, "max"))
    progress.trial_started("trial0")
    assert (progress.ended, progress.counts[Status.RUNNING], progress.best) == (0, 1, 0.5)
    progress.trial_finished(record(0, Status.STOPPED, 0.5, 0.75))
    assert (progress.ended, progress.counts[Status.RUNNING], progress.best) == (1, 0, 0.75)


def shown(num_trials: int, progress: SearchProgress, ended_before: int, elapsed_s: float) -> str:
    return join_rows([trials_row("demo", num_trials, progress, ended_before, elapsed_s)])[0]


def test_progress_of_a_search(record: Make):
    progress = SearchProgress([], Objective(METRIC, "max"))
    assert shown(10, progress, 0, 0.0) == "demo 0/10 | starting"
    progress.trial_finished(record(0, Status.RUNNING))
    assert shown(10, progress, 0, 3.0) == "demo 0/10 | 1 running"
    for trial in (record(1, Status.STOPPED, 0.5), record(2, Status.COMPLETED, 0.4, 0.75), record(3, Status.FAILED)):
        progress.trial_finished(trial)
    counts = "1 done, 1 stopped, 1 failed, 1 running | 3 epochs"
    assert shown(10, progress, 0, 30.0) == f"demo 3/10 | best 0.7500 | 1 min 10 s left | {counts}"
    assert shown(10, progress, 2, 30.0) == f"demo 3/10 | best 0.7500 | 3 min 30 s left | {counts}"
    assert shown(10, progress, 3, 30.0) == f"demo 3/10 | best 0.7500 | {counts}"
    assert shown(2, progress, 0, 30.0) == f"demo 3/2 | best 0.7500 | 0 s left | {counts}"


def test_the_time_left_counts_from_the_start_of_the_first_trial_however_late_it_is_shown(record: Make):
    now_s = iter((100.0, 120.0, 130.0))
    progress = SearchProgress([record(0, Status.COMPLETED, 0.5)], Objective(METRIC, "max"), clock=lambda: next(now_s))
    row = progress_row("demo", 12, progress)
    progress.trial_started("trial1")
    progress.trial_finished(record(1, Status.COMPLETED, 0.75))
    assert join_rows([row()]) == ["demo 2/12 | best 0.7500 | 3 min 20 s left | 2 done | 2 epochs"]
    assert progress.elapsed_s == 30.0


def test_without_a_start_no_time_is_estimated(record: Make):
    progress = SearchProgress([], Objective(METRIC, "max"))
    row = progress_row("demo", 12, progress)
    progress.trial_finished(record(0, Status.COMPLETED, 0.75))
    assert join_rows([row()]) == ["demo 1/12 | best 0.7500 | 1 done | 1 epoch"]


@pytest.mark.parametrize(
    ("number", "status", "values", "error", "line"),
    [
        (3, Status.COMPLETED, (0.5, 0.75, 0.7), "", "few_shot_accuracy 0.7500 in epoch 2, 4 s; best so far 0.9000"),
        (4, Status.STOPPED, (0.95,), "", "few_shot_accuracy 0.9500 in epoch 1, 2 s; best so far 0.9500"),
        (5, Status.FAILED, (), "ValueError: it\nbroke", "ValueError: it broke, 0 s; best so far 0.9000"),
    ],
)
def test_a_trial_that_ends_is_reported(
    record: Make, number: int, status: Status, values: tuple[float, ...], error: str, line: str
):
    lines: list[str] = []

    def report(trial: TrialRecord) -> None:
        lines.append(ended_line("demo", 16, progress, trial))

    progress = SearchProgress([record(0, Status.COMPLETED, 0.9)], Objective(METRIC, "max"), report)
    assert lines == []  # it ended in an earlier run
    progress.trial_started(f"trial{number}")
    progress.trial_finished(record(number, status, *values, error=error))
    assert lines == [f"demo 2/16: trial {number} (trial{number}) {status}, {line}"]


def test_before_the_first_value_there_is_no_best(record: Make):
    progress = SearchProgress([], Objective(METRIC, "max"))
    failed = record(0, Status.FAILED, error="x")
    progress.trial_finished(failed)
    assert ended_line("demo", 2, progress, failed) == "demo 1/2: trial 0 (trial0) failed, x, 0 s"
