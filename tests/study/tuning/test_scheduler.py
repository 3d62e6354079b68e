"""The schedulers on a ledger written by hand; Ray is not started."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from ray.tune.schedulers import TrialScheduler

from study.trials.ledger import Status, TrialRecord, read_ledger
from study.tuning.schedulers import LedgerASHA, LedgerFIFO
from study.tuning.tune_request import TuneRequest

METRIC = "few_shot_accuracy"
Make = Callable[..., TrialRecord]
Write = Callable[[Path, TrialRecord], None]


def tune_trial(name: str, trial_id: str) -> Any:
    """As much of Tune's trial as a scheduler looks at."""
    config = {"trial_id": trial_id, "number": 0, "config": {"encoder": "siamese"}}
    return SimpleNamespace(
        trial_id=name,
        config=config,
        num_failures=1,
        max_failures=1,
        get_error=lambda: None,
        should_recover=lambda: False,
    )


def controller(**statuses: list[Any]) -> Any:
    """As much of Tune's controller as is forgotten of: what it knows of trials by their status."""
    trials = [trial for some in statuses.values() for trial in some]
    return SimpleNamespace(
        _trials=trials,
        _live_trials={*statuses.get("running", []), *statuses.get("failed", [])},
        _stopped_trials={*statuses.get("stopped", [])},
        _failed_trials={*statuses.get("failed", [])},
        _trials_to_cache={*trials},
        _trial_metadata=dict.fromkeys([trial.trial_id for trial in trials], "{}"),
    )


def asha(request: TuneRequest, records: list[TrialRecord]) -> LedgerASHA:
    return LedgerASHA(request, records, 3.0, 0)


def rungs(scheduler: LedgerASHA) -> dict[int, dict[str, float]]:
    """What lies on each rung, as Tune's scheduler has it."""
    return {int(milestone): dict(values) for milestone, values in scheduler._brackets[0]._rungs}


def report(scheduler: LedgerASHA, trial: Any, epoch: int, value: float) -> str:
    return scheduler.on_trial_result(None, trial, {"epoch": epoch, METRIC: value})


def test_a_new_study_has_empty_rungs_at_its_milestones(request_: TuneRequest):
    assert rungs(asha(request_, [])) == {3: {}, 9: {}}


def test_a_weak_trial_is_stopped_at_its_rung_and_written_down(request_: TuneRequest, record: Make, write_trial: Write):
    scheduler = asha(request_, [])
    for name, value in (("a", 0.8), ("b", 0.7), ("c", 0.6)):
        write_trial(request_.place.results.trials, record(0, Status.RUNNING, value, trial_id=f"id-{name}"))
        trial = tune_trial(name, f"id-{name}")
        scheduler.on_trial_add(None, trial)
        for epoch in (1, 2):
            assert report(scheduler, trial, epoch, 0.0) == TrialScheduler.CONTINUE
        decision = report(scheduler, trial, 3, value)
        assert decision == (TrialScheduler.CONTINUE if name == "a" else TrialScheduler.STOP)
    assert {one.trial_id: one.status for one in read_ledger(request_.place.results.trials)} == {
        "id-a": Status.RUNNING,
        "id-b": Status.STOPPED,
        "id-c": Status.STOPPED,
    }


def test_a_stop_does_not_undo_how_a_trial_ended(request_: TuneRequest, record: Make, write_trial: Write):
    write_trial(request_.place.results.trials, record(0, Status.COMPLETED, *[0.5] * 9, trial_id="id-a"))
    scheduler = asha(request_, [])
    trial = tune_trial("a", "id-a")
    scheduler.on_trial_add(None, trial)
    assert report(scheduler, trial, 9, 0.5) == TrialScheduler.STOP  # Tune stops whatever reaches the last epoch
    assert read_ledger(request_.place.results.trials)[0].status is Status.COMPLETED


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_rungs_are_refilled_from_the_ledger(
    tune_request: Callable[..., TuneRequest], tmp_path: Path, record: Make, mode: Literal["max", "min"], sign: int
):
    records = [
        record(0, Status.COMPLETED, *[n / 16 for n in range(1, 10)]),
        record(1, Status.STOPPED, 0.5, 0.5, 0.25),
        record(2, Status.FAILED, 0.5, 0.5),
        record(3, Status.RUNNING, 0.5, 0.5, 0.75, 0.125),
        record(4, Status.RUNNING, 0.5, 0.5, 0.625),  # cut before it was known whether it goes on
        record(5, Status.COMPLETED, 0.5, 0.5, 0.875, 0.75, 0.625),  # ended by its own patience
        record(6, Status.COMPLETED, 0.5, 0.25),
    ]
    assert rungs(asha(tune_request(tmp_path, mode=mode), records)) == {
        3: {"trial0": sign * 3 / 16, "trial1": sign * 0.25, "trial3": sign * 0.75, "trial5": sign * 0.875},
        9: {"trial0": sign * 9 / 16},
    }


def test_refilled_rungs_are_those_of_the_study_that_was_cut(request_: TuneRequest, epochs: Callable[..., Any]):
    live = asha(request_, [])
    histories: dict[str, list[float]] = {
        "a": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        "b": [0.5, 0.5],
        "c": [0.9, 0.9, 0.2],
        "d": [0.1, 0.1, 0.9, 0.9],
        "e": [0.1, 0.1, 0.95, 0.9, 0.8],
    }
    last = {"a": 9, "e": 5}  # at the last epoch, and by its own patience
    for name, values in histories.items():
        trial = tune_trial(name, name)
        live.on_trial_add(None, trial)
        for epoch, value in enumerate(values, 1):
            if epoch == last.get(name):
                live.on_trial_complete(controller(), trial, {"epoch": epoch, METRIC: value})
            else:
                report(live, trial, epoch, value)
    ended = {"a": Status.COMPLETED, "c": Status.STOPPED, "e": Status.COMPLETED}
    records = [
        TrialRecord(trial_id=name, number=n, config={}, status=ended.get(name, Status.RUNNING), history=epochs(*values))
        for n, (name, values) in enumerate(histories.items())
    ]
    assert rungs(asha(request_, records)) == rungs(live)


def test_a_trial_that_goes_on_keeps_its_place(request_: TuneRequest, record: Make):
    scheduler = asha(request_, [record(0, Status.STOPPED, 0, 0, 0.9), record(1, Status.RUNNING, 0, 0, 0.1, 0.1)])
    trial = tune_trial("u", "trial1")
    scheduler.on_trial_add(None, trial)
    assert rungs(scheduler) == {3: {"trial0": 0.9, "u": 0.1}, 9: {}}
    assert report(scheduler, trial, 5, 0.05) == TrialScheduler.CONTINUE  # it is past that rung
    assert rungs(scheduler) == {3: {"trial0": 0.9, "u": 0.1}, 9: {}}


def test_a_trial_that_was_cut_at_its_rung_is_judged_when_it_goes_on(request_: TuneRequest, record: Make):
    scheduler = asha(request_, [record(0, Status.STOPPED, 0, 0, 0.9), record(1, Status.RUNNING, 0, 0, 0.1)])
    trial = tune_trial("u", "trial1")
    scheduler.on_trial_add(None, trial)
    assert rungs(scheduler) == {3: {"trial0": 0.9}, 9: {}}
    assert report(scheduler, trial, 4, 0.1) == TrialScheduler.STOP
    assert rungs(scheduler) == {3: {"trial0": 0.9, "u": 0.1}, 9: {}}


def test_a_failed_trial_stays_off_the_rungs(request_: TuneRequest):
    scheduler = asha(request_, [])
    for name, result in (("a", {"epoch": 3, METRIC: float("nan")}), ("b", {"epoch": 3})):
        trial = tune_trial(name, name)
        scheduler.on_trial_add(None, trial)
        scheduler.on_trial_complete(controller(), trial, result)
    assert rungs(scheduler) == {3: {}, 9: {}}


class NamedTrial:
    """A trial that can be in a set."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


@pytest.mark.parametrize("kind", ["asha", "fifo"])
def test_tune_forgets_trials_that_ended_and_no_other(request_: TuneRequest, kind: str):
    scheduler = asha(request_, []) if kind == "asha" else LedgerFIFO(request_.place, 0)
    running, ending, failed, *stopped = (NamedTrial(name) for name in "abcde")
    tune = controller(running=[running, ending], failed=[failed], stopped=stopped)
    scheduler.on_trial_complete(tune, ending, {"epoch": 3})
    assert tune._trials == [running, ending]
    assert tune._live_trials == tune._trials_to_cache == {running, ending}
    assert tune._trial_metadata.keys() == {"a", "b"}
    assert not tune._stopped_trials | tune._failed_trials


@pytest.mark.parametrize("kind", ["asha", "fifo"])
def test_a_trial_that_could_not_be_brought_to_its_end_is_written_down(request_: TuneRequest, kind: str):
    scheduler = asha(request_, []) if kind == "asha" else LedgerFIFO(request_.place, 0)
    scheduler.on_trial_error(None, tune_trial("a", "id-a"))
    (record,) = read_ledger(request_.place.results.trials)
    assert (record.trial_id, record.config, record.status, record.error) == (
        "id-a",
        {"encoder": "siamese"},
        Status.FAILED,
        "given up after 1 failures: its worker died",
    )
