"""The executor in this process: what only it does; tests/contracts/test_executors.py has what all executors do."""

import os
import pdb
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial, TrialState

from search_spaces import SearchSpace
from study.config.study_config import StudyConfig
from study.storage.paths import StudyPaths
from study.trials import trial
from study.trials.host import read_host
from study.trials.ledger import Status
from study.trials.preparation import PreparedDataset
from study.trials.trial import TrialEnvironment
from study.tuning.budget import Budget, GpuMeter
from study.tuning.dataset_search import DatasetSearch
from study.tuning.progress import SearchProgress
from study.tuning.serial_executor import THIS_PROCESS, run_serially

Make = Callable[..., DatasetSearch]
Run = Callable[..., list[SearchProgress]]
METRIC = "few_shot_accuracy"
STUDY = StudyConfig()


def suggest_small(trial: Any) -> dict[str, Any]:
    return {
        "encoder": "siamese",
        "supervision": "unsupervised",
        "num_conditions": trial.suggest_int("num_conditions", 1, 4),
        "pairs": "fresh",
        "pairs_per_epoch": 64,
        "steps_per_epoch": 1,
    }


@pytest.fixture
def search(search_in: Make, tmp_path: Path) -> DatasetSearch:
    """A search for 2 trials of 2 epochs; the first has 3 conditions."""
    space = SearchSpace(
        suggest=suggest_small, first_trials=({"num_conditions": 3},), paper_setting={}, num_trials=2, max_epochs=2
    )
    return replace(search_in(tmp_path, space=space), num_trials=2, max_epochs=2, grace_epochs=2)


def first_id(search: DatasetSearch) -> str:
    return search.identify(search.complete(suggest_small(FixedTrial({"num_conditions": 3}))))


@pytest.fixture
def run(prepared: PreparedDataset) -> Run:
    """Run searches with an environment, a study and a budget, and return their progress."""

    def run(
        *searches: DatasetSearch,
        update: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = lambda: 0.0,
        num_threads: int = 1,
        study: StudyConfig = STUDY,
    ) -> list[SearchProgress]:
        progress = {search.dataset: SearchProgress(search.records(), search.objective) for search in searches}
        run_serially(
            searches,
            TrialEnvironment(results=StudyPaths(searches[0].paths.root), num_threads=num_threads),
            {search.dataset: replace(prepared, dataset=search.dataset) for search in searches},
            study,
            budget=Budget(seconds=1.0, meter=GpuMeter(lambda: 0.0), clock=clock),
            progress=progress,
            update=update,
        )
        return list(progress.values())

    return run


def statuses(search: DatasetSearch) -> list[Status]:
    return [record.status for record in search.records()]


def states(search: DatasetSearch) -> list[TrialState]:
    storage = JournalStorage(JournalFileBackend(str(search.paths.journal)))
    return [trial.state for trial in optuna.load_study(study_name=search.dataset, storage=storage).trials]


def test_it_starts_no_ray_and_leaves_the_settings_of_torch(search: DatasetSearch, run: Run):
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    [progress] = run(search, num_threads=torch.get_num_threads() + 1)
    assert not ray.is_initialized()
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert statuses(search) == [Status.COMPLETED] * 2
    assert (progress.ended, +progress.counts) == (2, {Status.COMPLETED: 2})
    assert progress.best == max(epoch[METRIC] for record in search.records() for epoch in record.history)


def test_it_writes_where_a_trial_runs(search: DatasetSearch, run: Run):
    run(search)
    for record in search.records():
        host = read_host(search.ledger(record.trial_id).folder)
        assert host is not None
        assert (host.node_id, host.pid) == (THIS_PROCESS, os.getpid())


def test_no_trial_starts_when_the_budget_is_used_up(search: DatasetSearch, run: Run):
    times = count(step=2)
    run(search, clock=lambda: float(next(times)))
    assert statuses(search) == []
    assert states(search) == []


def test_ctrl_c_leaves_the_trial_running_and_the_journal_whole(search: DatasetSearch, run: Run):
    def interrupt() -> None:
        if any(record.history for record in search.records()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run(search, update=interrupt)
    assert statuses(search) == [Status.RUNNING]
    assert states(search) == []
    [interrupted] = search.records()
    run(search)
    assert statuses(search) == [Status.COMPLETED] * 2
    assert search.records()[0].history[0] == interrupted.history[0]


def test_a_trial_starts_again_when_its_disk_failed_once(search: DatasetSearch, run: Run):
    folder = search.ledger(first_id(search)).folder
    (folder / "checkpoint").parent.mkdir(parents=True)
    (folder / "checkpoint").touch()

    def mend() -> float:
        """Free the disk as soon as the trial has started once: the budget is checked before each attempt."""
        if (folder / "config.json").exists() and (folder / "checkpoint").is_file():
            (folder / "checkpoint").unlink()
        return 0.0

    run(search, clock=mend, study=StudyConfig(max_failures=1))
    first = search.records()[0]
    assert (first.trial_id, first.status, first.error) == (first_id(search), Status.COMPLETED, "")
    assert [epoch["epoch"] for epoch in first.history] == [1, 2]


def test_several_datasets_share_the_process(search: DatasetSearch, run: Run):
    twin = replace(search, paths=StudyPaths(search.paths.root).dataset("cub"))
    progress = run(search, twin)
    assert statuses(search) == statuses(twin) == [Status.COMPLETED] * 2
    assert [counts.ended for counts in progress] == [2, 2]


def debug(run: Run, search: DatasetSearch, *commands: str) -> str:
    """Run a search in pdb with a breakpoint in the first epoch of a trial, and return what pdb prints."""
    lines = Path(trial.__file__).read_text(encoding="utf-8").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "trainer.train_epoch()" in text)
    script = "\n".join([f"tbreak {trial.__file__}:{line}", "continue", *commands, ""])
    printed = StringIO()
    tracing = sys.gettrace()
    try:
        pdb.Pdb(stdin=StringIO(script), stdout=printed, nosigint=True, readrc=False).runcall(run, search)
    finally:
        sys.settrace(tracing)
    return printed.getvalue()


def test_a_breakpoint_in_a_trial_works(search: DatasetSearch, run: Run):
    printed = debug(run, search, "p 'trial', self._spec.trial_id", "continue")
    assert f"('trial', '{first_id(search)}')" in printed
    assert statuses(search) == [Status.COMPLETED] * 2


def test_leaving_the_debugger_interrupts_the_study(search: DatasetSearch, run: Run):
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        debug(run, search, "quit")
    assert statuses(search) == [Status.RUNNING]
    assert states(search) == []
