"""Stopping rules as schedulers: what they write to the ledger, and what they take from it."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from study.config.choices import Scheduler
from study.config.study_config import StudyConfig
from study.trials.ledger import Status, TrialLedger, TrialRecord, read_ledger
from study.trials.trial import TrialSpec
from study.tuning.dataset_search import DatasetSearch
from study.tuning.stopping.per_dataset import PerDatasetScheduler, make_scheduler

METRIC = "few_shot_accuracy"
Make = Callable[..., TrialRecord]
Write = Callable[..., None]
CONFIG: dict[str, Any] = {
    "encoder": "siamese",
    "supervision": "unsupervised",
    "num_conditions": 4,
    "max_epochs": 9,
    "seed": 0,
}
GOOD, BAD = [0.9, 0.8, 1.0, 0.9] * 20, [0.1, 0.0, 0.2, 0.1] * 20
"""Scores of questions."""


def tune_trial(trial_id: str) -> Any:
    spec = TrialSpec.from_flat(trial_id=trial_id, number=0, dataset="demo", config=CONFIG)
    return SimpleNamespace(
        trial_id=f"tune-{trial_id}",
        config={"spec": spec},
        num_failures=1,
        max_failures=0,
        get_error=lambda: None,
        should_recover=lambda: False,
    )


@pytest.fixture
def scheduler_of(search: DatasetSearch) -> Callable[..., PerDatasetScheduler]:
    def make(name: Scheduler, records: list[TrialRecord], of: DatasetSearch = search) -> PerDatasetScheduler:
        study = StudyConfig(scheduler=name, max_failures=0)
        return PerDatasetScheduler({"demo": make_scheduler(of, records, study, lambda _: True)})

    return make


@pytest.fixture
def completed(search: DatasetSearch, record: Make) -> list[TrialRecord]:
    """Six completed trials in the ledger, with their questions."""
    records = [record(number, Status.COMPLETED, *[0.9] * 9, config=CONFIG) for number in range(6)]
    for written in records:
        ledger = search.ledger(written.trial_id)
        ledger.open(number=written.number, config=CONFIG)
        for epoch in written.history:
            ledger.add_epoch(epoch, {}, None, GOOD)
        ledger.close(Status.COMPLETED)
    return records


def run_epoch(search: DatasetSearch, trial_id: str, epochs: Any, value: float, scores: list[float]) -> TrialLedger:
    """Write the first epoch of a trial."""
    ledger = search.ledger(trial_id)
    ledger.open(number=9, config=CONFIG)
    ledger.add_epoch(epochs(value)[0], {}, None, scores)
    return ledger


@pytest.mark.parametrize("name", [Scheduler.PAIRED, Scheduler.TOP_K])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_weak_trial_is_stopped_and_written_down(
    scheduler_of: Any, search: DatasetSearch, completed: Any, epochs: Any, name: Scheduler, resumed: bool
):
    scheduler = scheduler_of(name, completed if resumed else [])
    if not resumed:
        for written in completed:
            trial = tune_trial(written.trial_id)
            scheduler.on_trial_add(None, trial)
            scheduler.on_trial_complete(None, trial, {"epoch": 9, METRIC: 0.9})
    for trial_id, value, scores in (("strong", 0.95, GOOD), ("weak", 0.1, BAD)):
        ledger = run_epoch(search, trial_id, epochs, value, scores)
        trial = tune_trial(trial_id)
        scheduler.on_trial_add(None, trial)
        decision = scheduler.on_trial_result(None, trial, {"epoch": 1, METRIC: value})
        stopped = trial_id == "weak"
        assert decision == (TrialScheduler.STOP if stopped else TrialScheduler.CONTINUE)
        assert ledger.status()[0] is (Status.STOPPED if stopped else Status.RUNNING)
        scheduler.on_trial_complete(None, trial, {"epoch": 1, METRIC: value})


@pytest.mark.parametrize("name", [Scheduler.PAIRED, Scheduler.TOP_K])
def test_a_first_trial_is_never_stopped(
    scheduler_of: Any, search: DatasetSearch, completed: Any, epochs: Any, name: Scheduler
):
    is_first = replace(search, first_trials=({key: value for key, value in CONFIG.items() if key != "seed"},))
    scheduler = scheduler_of(name, completed, is_first)
    ledger = run_epoch(search, "weak", epochs, 0.1, BAD)
    decision = scheduler.on_trial_result(None, tune_trial("weak"), {"epoch": 1, METRIC: 0.1})
    assert decision == TrialScheduler.CONTINUE
    assert ledger.status()[0] is Status.RUNNING


@pytest.mark.parametrize("name", [Scheduler.PAIRED, Scheduler.TOP_K])
def test_the_end_of_a_trial_that_failed_says_nothing(scheduler_of: Any, search: DatasetSearch, name: Scheduler):
    scheduler, trial = scheduler_of(name, []), tune_trial("a")
    assert scheduler.on_trial_result(None, trial, {"epoch": 1, METRIC: float("nan")}) == TrialScheduler.CONTINUE
    scheduler.on_trial_complete(None, trial, {"epoch": 1, METRIC: float("nan")})
    scheduler.on_trial_complete(None, trial, {"epoch": 1})
    scheduler.on_trial_error(None, trial)
    (written,) = read_ledger(search.paths.trials)
    assert written.error == "given up after 1 failures: its worker died"


def test_a_trial_cut_at_the_end_of_a_study_has_not_completed(scheduler_of: Any, search: DatasetSearch, epochs: Any):
    scheduler = scheduler_of(Scheduler.PAIRED, [])
    run_epoch(search, "cut", epochs, 0.9, GOOD)
    scheduler.on_trial_complete(None, tune_trial("cut"), {"epoch": 1, METRIC: 0.9})
    (rule,) = [of._rule for of in scheduler._schedulers.values()]
    assert rule._num_finished == 0
