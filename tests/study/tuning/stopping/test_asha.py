"""The schedulers on a ledger written by hand; Ray is not started."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from ray.tune.schedulers import TrialScheduler

from study.config.study_config import StudyConfig
from study.storage.location import Location
from study.trials.host import TrialHost, read_host, write_host
from study.trials.ledger import Status, TrialRecord, read_ledger
from study.trials.trial import TrialSpec
from study.tuning.dataset_search import DatasetSearch
from study.tuning.stopping.asha import LedgerASHA
from study.tuning.stopping.failures import FailureCount
from study.tuning.stopping.fifo import LedgerFIFO

METRIC = "few_shot_accuracy"
NO_FAILURES = StudyConfig(max_failures=0)
Make = Callable[..., TrialRecord]
Write = Callable[[Location, TrialRecord], None]


CONFIG: dict[str, Any] = {
    "encoder": "siamese",
    "supervision": "unsupervised",
    "num_conditions": 4,
    "max_epochs": 9,
    "seed": 0,
}


def spec_for(trial_id: str) -> TrialSpec:
    return TrialSpec.from_flat(trial_id=trial_id, number=0, dataset="demo", config=CONFIG)


def tune_trial(name: str, trial_id: str) -> Any:
    """Return the part of a Tune trial that schedulers read."""
    return SimpleNamespace(
        trial_id=name,
        config={"spec": spec_for(trial_id)},
        num_failures=1,
        max_failures=1,
        get_error=lambda: None,
        should_recover=lambda: False,
    )


def controller(**statuses: list[Any]) -> Any:
    """Return the part of Tune's controller that holds trials, by their status."""
    trials = [trial for of_status in statuses.values() for trial in of_status]
    return SimpleNamespace(
        _trials=trials,
        _live_trials={*statuses.get("running", []), *statuses.get("failed", [])},
        _stopped_trials={*statuses.get("stopped", [])},
        _failed_trials={*statuses.get("failed", [])},
        _trials_to_cache={*trials},
        _trial_metadata=dict.fromkeys([trial.trial_id for trial in trials], "{}"),
    )


def asha(search: DatasetSearch, records: list[TrialRecord]) -> LedgerASHA:
    return LedgerASHA(search, records, NO_FAILURES, node_is_alive=lambda _: True)


def rungs(scheduler: LedgerASHA) -> dict[int, dict[str, float]]:
    """What lies on each rung, as Tune's scheduler has it."""
    return {int(milestone): dict(values) for milestone, values in scheduler._rungs}  # pyright: ignore[reportPrivateUsage]


def report(scheduler: LedgerASHA, trial: Any, epoch: int, value: float) -> str:
    return scheduler.on_trial_result(None, trial, {"epoch": epoch, METRIC: value})


def test_a_new_study_has_empty_rungs_at_its_milestones(search: DatasetSearch):
    assert rungs(asha(search, [])) == {3: {}, 9: {}}


def test_a_weak_trial_is_stopped_at_its_rung_and_written_down(search: DatasetSearch, record: Make, write_trial: Write):
    scheduler = asha(search, [])
    for name, value in (("a", 0.8), ("b", 0.7), ("c", 0.6)):
        write_trial(search.paths.trials, record(0, Status.RUNNING, value, trial_id=f"id-{name}"))
        trial = tune_trial(name, f"id-{name}")
        scheduler.on_trial_add(None, trial)
        for epoch in (1, 2):
            assert report(scheduler, trial, epoch, 0.0) == TrialScheduler.CONTINUE
        decision = report(scheduler, trial, 3, value)
        assert decision == (TrialScheduler.CONTINUE if name == "a" else TrialScheduler.STOP)
    assert {record.trial_id: record.status for record in read_ledger(search.paths.trials)} == {
        "id-a": Status.RUNNING,
        "id-b": Status.STOPPED,
        "id-c": Status.STOPPED,
    }


def test_a_first_trial_and_the_paper_setting_are_never_stopped(search: DatasetSearch, record: Make, write_trial: Write):
    params = {key: value for key, value in CONFIG.items() if key != "seed"}
    exempt = (
        replace(search, first_trials=(params,)),
        replace(search, space=replace(search.space, paper_setting=params)),
    )
    for of_study, decision in ((search, TrialScheduler.STOP), *((one, TrialScheduler.CONTINUE) for one in exempt)):
        write_trial(search.paths.trials, record(0, Status.RUNNING, 0.1, trial_id="id-a"))
        scheduler = asha(of_study, [record(number, Status.COMPLETED, *[0.5] * 9) for number in (1, 2, 3)])
        trial = tune_trial("a", "id-a")
        scheduler.on_trial_add(None, trial)
        assert report(scheduler, trial, 3, 0.1) == decision
        (written,) = read_ledger(search.paths.trials)
        assert written.status is (Status.STOPPED if decision == TrialScheduler.STOP else Status.RUNNING)
        (search.paths.trials / "id-a" / "status.json").unlink(missing_ok=True)


def test_a_stop_does_not_undo_how_a_trial_ended(search: DatasetSearch, record: Make, write_trial: Write):
    write_trial(search.paths.trials, record(0, Status.COMPLETED, *[0.5] * 9, trial_id="id-a"))
    scheduler = asha(search, [])
    trial = tune_trial("a", "id-a")
    scheduler.on_trial_add(None, trial)
    assert report(scheduler, trial, 9, 0.5) == TrialScheduler.STOP  # Tune stops whatever reaches the last epoch
    assert read_ledger(search.paths.trials)[0].status is Status.COMPLETED


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_rungs_are_refilled_from_the_ledger(
    search_in: Callable[..., DatasetSearch], tmp_path: Path, record: Make, mode: Literal["max", "min"], sign: int
):
    records = [
        record(0, Status.COMPLETED, *[n / 16 for n in range(1, 10)]),
        record(1, Status.STOPPED, 0.5, 0.5, 0.25),
        record(2, Status.FAILED, 0.5, 0.5),
        record(3, Status.RUNNING, 0.5, 0.5, 0.75, 0.125),
        record(4, Status.RUNNING, 0.5, 0.5, 0.625),  # interrupted before the decision whether it goes on
        record(5, Status.COMPLETED, 0.5, 0.5, 0.875, 0.75, 0.625),  # ended by its own patience
        record(6, Status.COMPLETED, 0.5, 0.25),
    ]
    assert rungs(asha(search_in(tmp_path, mode=mode), records)) == {
        3: {"trial0": sign * 3 / 16, "trial1": sign * 0.25, "trial3": sign * 0.75, "trial5": sign * 0.875},
        9: {"trial0": sign * 9 / 16},
    }


def test_refilled_rungs_are_those_of_the_interrupted_study(search: DatasetSearch, epochs: Callable[..., Any]):
    live = asha(search, [])
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
    assert rungs(asha(search, records)) == rungs(live)


def test_a_trial_that_goes_on_keeps_its_place(search: DatasetSearch, record: Make):
    scheduler = asha(search, [record(0, Status.STOPPED, 0, 0, 0.9), record(1, Status.RUNNING, 0, 0, 0.1, 0.1)])
    trial = tune_trial("u", "trial1")
    scheduler.on_trial_add(None, trial)
    assert rungs(scheduler) == {3: {"trial0": 0.9, "u": 0.1}, 9: {}}
    assert report(scheduler, trial, 5, 0.05) == TrialScheduler.CONTINUE  # it is past that rung
    assert rungs(scheduler) == {3: {"trial0": 0.9, "u": 0.1}, 9: {}}


def test_a_trial_that_was_interrupted_at_its_rung_is_judged_when_it_goes_on(search: DatasetSearch, record: Make):
    scheduler = asha(search, [record(0, Status.STOPPED, 0, 0, 0.9), record(1, Status.RUNNING, 0, 0, 0.1)])
    trial = tune_trial("u", "trial1")
    scheduler.on_trial_add(None, trial)
    assert rungs(scheduler) == {3: {"trial0": 0.9}, 9: {}}
    assert report(scheduler, trial, 4, 0.1) == TrialScheduler.STOP
    assert rungs(scheduler) == {3: {"trial0": 0.9, "u": 0.1}, 9: {}}


def test_a_failed_trial_stays_off_the_rungs(search: DatasetSearch):
    scheduler = asha(search, [])
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
def test_tune_forgets_trials_that_ended_and_no_other(search: DatasetSearch, kind: str):
    scheduler = asha(search, []) if kind == "asha" else LedgerFIFO(search, NO_FAILURES, node_is_alive=lambda _: True)
    running, ending, failed, *stopped = (NamedTrial(name) for name in "abcde")
    tune = controller(running=[running, ending], failed=[failed], stopped=stopped)
    scheduler.on_trial_complete(tune, ending, {"epoch": 3})
    assert tune._trials == [running, ending]
    assert tune._live_trials == tune._trials_to_cache == {running, ending}
    assert tune._trial_metadata.keys() == {"a", "b"}
    assert not tune._stopped_trials | tune._failed_trials


@pytest.mark.parametrize("kind", ["asha", "fifo"])
def test_a_trial_that_could_not_be_brought_to_its_end_is_written_down(search: DatasetSearch, kind: str):
    scheduler = asha(search, []) if kind == "asha" else LedgerFIFO(search, NO_FAILURES, node_is_alive=lambda _: True)
    scheduler.on_trial_error(None, tune_trial("a", "id-a"))
    (record,) = read_ledger(search.paths.trials)
    assert (record.trial_id, record.config, record.status, record.error) == (
        "id-a",
        CONFIG,
        Status.FAILED,
        "given up after 1 failures: its worker died",
    )


class FailingTrial:
    """As much of Tune's trial as is looked at: it counts every failure, and goes on while they are not too many."""

    def __init__(self) -> None:
        self.config = {"spec": spec_for("id-a")}
        self.num_failures, self.max_failures = 0, 1
        self.error = ""

    def should_recover(self) -> bool:
        return self.num_failures <= self.max_failures

    def get_error(self) -> str:
        return self.error


@pytest.fixture
def fail(search: DatasetSearch) -> Callable[..., tuple[FailingTrial, list[bool]]]:
    """Let a trial fail on each of some nodes, "" for a worker that dies at its start; return whether it went on."""

    def run(
        max_failures: int, *nodes: str, there: str = "h", error: str = "it died"
    ) -> tuple[FailingTrial, list[bool]]:
        trial, count = FailingTrial(), FailureCount(search, max_failures, lambda node: node in there)
        goes_on: list[bool] = []
        for node in nodes:
            if node:
                host = TrialHost(node_id=node, address=f"10.0.0.{node}", hostname=node, pid=1)
                write_host(search.ledger("id-a").folder, host)
            trial.num_failures, trial.error = trial.num_failures + 1, error
            count.count(trial)
            goes_on.append(trial.should_recover() and not read_ledger(search.paths.trials))
        return trial, goes_on

    return run


@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_a_trial_may_fail_as_often_as_is_allowed(fail: Any, search: DatasetSearch, most: int):
    _, goes_on = fail(most, *"h" * (most + 1))
    assert goes_on == [True] * most + [False]
    [record] = read_ledger(search.paths.trials)
    assert (record.status, record.config) == (Status.FAILED, CONFIG)
    assert record.error == f"given up after {most + 1} failures: it died"


@pytest.mark.parametrize("most", [0, 2])
def test_a_node_may_go_as_often_as_it_likes(fail: Any, search: DatasetSearch, most: int):
    trial, goes_on = fail(most, *"abcdefg")
    assert goes_on == [True] * 7
    assert trial.should_recover()
    assert read_ledger(search.paths.trials) == []


def test_losses_between_failures_are_not_counted(fail: Any, search: DatasetSearch):
    _, goes_on = fail(1, *"ahbch")
    assert goes_on == [True] * 4 + [False]
    assert read_ledger(search.paths.trials)[0].error == "given up after 2 failures: it died"


def test_a_worker_that_dies_before_it_says_where_has_failed(fail: Any):
    _, goes_on = fail(2, "a", "", "", "")  # what was known of its last node is forgotten
    assert goes_on == [True, True, True, False]


def test_a_trial_that_was_given_up_cannot_go_on_for_ever(fail: Any, search: DatasetSearch):
    trial, _ = fail(1, *"hhh")
    assert not trial.should_recover()
    assert read_ledger(search.paths.trials)[0].error == "given up after 2 failures: it died"  # the first word stands


def test_a_failure_is_told_by_its_last_line(fail: Any, search: DatasetSearch):
    fail(0, "h", error="Traceback:\n  File ..\nOSError: no space left\n")
    assert read_ledger(search.paths.trials)[0].error == "given up after 1 failures: OSError: no space left"


def test_where_a_trial_runs_is_read_back(search: DatasetSearch):
    folder, host = search.ledger("id-a").folder, TrialHost(node_id="a", address="10.0.0.1", hostname="one", pid=7)
    assert read_host(folder) is None
    write_host(folder, host)
    assert read_host(folder) == host
