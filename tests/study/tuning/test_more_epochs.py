"""A study that gets more epochs: completed trials go on from their checkpoints, as if there had been more before."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial, TrialState

from search_spaces import SearchSpace
from study.config.choices import Sampler, Scheduler
from study.config.identity import trial_id
from study.config.study_config import StudyConfig
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialRecord, read_ledger
from study.trials.more_epochs import count_missing, read_for_search
from study.trials.preparation import PreparedDataset
from study.trials.trial import TrialEnvironment, TrialRun, TrialSpec
from study.tuning.budget import Budget, GpuMeter
from study.tuning.dataset_search import DatasetSearch
from study.tuning.progress import SearchProgress
from study.tuning.serial_executor import run_serially

Make = Callable[..., DatasetSearch]
Run = Callable[..., None]
Kill = Callable[..., AbstractContextManager[list[str]]]
Write = Callable[[Path, TrialRecord], None]
PLAIN = StudyConfig(sampler=Sampler.RANDOM, scheduler=Scheduler.NONE)


def suggest(trial: Any, schedule: str = "constant") -> dict[str, Any]:
    return {
        "encoder": "siamese",
        "supervision": "unsupervised",
        "num_conditions": trial.suggest_int("num_conditions", 1, 100),
        "learning_rate": 1e-2,
        "schedule": schedule,
        "pairs": "fresh",
        "pairs_per_epoch": 64,
        "steps_per_epoch": 2,
    }


def suggest_cosine(trial: Any) -> dict[str, Any]:
    return suggest(trial, "cosine")


def space(suggest: Callable[..., dict[str, Any]] = suggest) -> SearchSpace:
    return SearchSpace(suggest=suggest, first_trials=(), paper_setting={}, num_trials=2, max_epochs=2)


@pytest.fixture
def search_of(search_in: Make, tmp_path: Path) -> Make:
    """Make a search for 3 trials of 2 epochs, with changes, in a folder of the test."""

    def make(folder: str = "extended", *, suggest: Callable[..., dict[str, Any]] = suggest, **changes: Any):
        search = search_in(tmp_path / folder, space=space(suggest))
        return replace(search, **({"num_trials": 3, "max_epochs": 2, "grace_epochs": 1} | changes))

    return make


@pytest.fixture
def run(prepared: PreparedDataset) -> Run:
    def run(search: DatasetSearch, update: Callable[[], None] = lambda: None, study: StudyConfig = PLAIN) -> None:
        run_serially(
            [search],
            TrialEnvironment(results=StudyPaths(search.paths.root), num_threads=1),
            {search.dataset: prepared},
            study,
            budget=Budget(meter=GpuMeter(lambda: 0.0)),
            progress={search.dataset: SearchProgress(search.records(), search.objective)},
            update=update,
        )

    return run


def ledger_of(search: DatasetSearch) -> list[TrialRecord]:
    return read_ledger(search.paths.trials)


def numbers(record: TrialRecord) -> list[dict[str, Any]]:
    return [{key: value for key, value in epoch.items() if not key.startswith("time/")} for epoch in record.history]


def states(search: DatasetSearch) -> dict[str, TrialState]:
    storage = JournalStorage(JournalFileBackend(str(search.paths.journal)))
    trials = optuna.load_study(study_name=search.dataset, storage=storage).trials
    assert len({trial.user_attrs["trial_id"] for trial in trials}) == len(trials)
    return {trial.user_attrs["trial_id"]: trial.state for trial in trials}


def test_it_equals_a_study_with_all_epochs_from_the_start(search_of: Make, run: Run):
    run(search_of())
    begun = ledger_of(search_of())
    extended, whole = search_of(max_epochs=4, num_trials=4), search_of("whole", max_epochs=4)
    run(extended)
    run(whole)
    after = ledger_of(extended)
    assert [record.trial_id for record in after[:3]] == [record.trial_id for record in begun]
    assert [numbers(record) for record in after[:3]] == [numbers(record) for record in ledger_of(whole)]
    assert [record.best for record in after[:3]] == [record.best for record in ledger_of(whole)]
    assert {record.status for record in after} == {Status.COMPLETED}
    assert [record.config.get("schedule_epochs") for record in after] == [2, 2, 2, None]
    assert [record.config["max_epochs"] for record in after] == [4] * 4
    assert states(extended) == {record.trial_id: TrialState.COMPLETE for record in after}
    for record in after:
        assert trial_id(extended.fingerprint, extended.features, record.config) == record.trial_id
    assert count_missing(extended.records(), 4) == 0


def test_a_cosine_starts_again_and_the_configuration_alone_repeats_the_trial(
    search_of: Make, run: Run, prepared: PreparedDataset, tmp_path: Path
):
    for max_epochs in (2, 3, 5):
        search = search_of(suggest=suggest_cosine, max_epochs=max_epochs, num_trials=1)
        run(search)
    [record] = ledger_of(search)
    assert [record.config[key] for key in ("max_epochs", "schedule_epochs")] == [5, 2]
    assert len({epoch["loss/total"] for epoch in record.history}) == 5
    spec = TrialSpec.from_flat(
        trial_id=record.trial_id,
        number=0,
        dataset="demo",
        config=record.config,
        val_questions=search.val_questions,
    )
    alone = TrialRun(spec, TrialEnvironment(results=StudyPaths(tmp_path / "alone"), num_threads=1), prepared.featured)
    while not alone.step().done:
        pass
    alone.close()
    [repeated] = read_ledger(StudyPaths(tmp_path / "alone").dataset("demo").trials)
    assert numbers(repeated) == numbers(record)


def test_an_interrupted_extension_loses_nothing_and_ends_the_same(search_of: Make, run: Run):
    run(search_of())
    extended, whole = search_of(max_epochs=4), search_of("whole", max_epochs=4)

    def interrupt() -> None:
        if any(len(record.history) == 3 for record in ledger_of(extended)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        run(extended, update=interrupt)
    assert [record.status for record in ledger_of(extended)] == [Status.RUNNING, Status.COMPLETED, Status.COMPLETED]
    assert [len(record.history) for record in ledger_of(extended)] == [3, 2, 2]
    assert sorted(states(extended).values()) == [TrialState.COMPLETE] * 2
    run(extended)
    run(whole)
    assert [numbers(record) for record in ledger_of(extended)] == [numbers(record) for record in ledger_of(whole)]


def test_a_crash_at_any_instant_of_reopening_keeps_all_epochs(
    record: Callable[..., TrialRecord], write_trial: Write, search_of: Make, killed_at: Kill
):
    for instant in count():
        search = search_of(f"killed{instant}", max_epochs=20)
        write_trial(search.paths.trials, record(0, Status.COMPLETED, 0.1, 0.2, 0.3))
        [continued] = search.records()
        with killed_at(search.paths.trials, instant) as died:
            search.ledger(continued.trial_id).reopen(continued.config)
        [left] = ledger_of(search)
        assert left.status in (Status.COMPLETED, Status.RUNNING)
        assert len(left.history) == 3
        assert search.records() == [continued]
        if not died:
            break
    assert instant > 4
    assert left.status is Status.RUNNING


def test_only_trials_that_completed_at_the_last_epoch_go_on(
    record: Callable[..., TrialRecord], write_trial: Write, search_of: Make
):
    search = search_of(max_epochs=20)
    out_of_patience = {**record(0, Status.COMPLETED).config, "patience": 2}
    for made in (
        record(0, Status.COMPLETED, 0.3, 0.2, 0.1, config=out_of_patience),
        record(1, Status.COMPLETED, 0.1, 0.3, 0.2, config=out_of_patience),
        record(2, Status.STOPPED, 0.1),
        record(3, Status.FAILED, 0.1, error="ValueError: bad"),
        record(4, Status.RUNNING, 0.1),
        record(5, Status.COMPLETED, 0.1),
    ):
        write_trial(search.paths.trials, made)
    search.ledger("trial5").folder.joinpath("checkpoint", "state.pt").unlink()
    seen = read_for_search(search.paths.trials, search.objective, 20)
    assert [made.status for made in seen] == [
        Status.COMPLETED,
        Status.RUNNING,
        Status.STOPPED,
        Status.FAILED,
        Status.RUNNING,
        Status.COMPLETED,
    ]
    assert [made.config["max_epochs"] for made in seen] == [9, 20, 9, 9, 20, 9]
    assert count_missing(seen, 2) == 2, "they go on, whatever the number of trials is"
    assert read_for_search(search.paths.trials, search.objective, 9)[1].status is Status.COMPLETED


def test_a_trial_is_not_begun_again_with_more_epochs(search_of: Make, run: Run):
    def one_value(trial: Any) -> dict[str, Any]:
        return {**suggest(FixedTrial({"num_conditions": 3})), "dropout": trial.suggest_float("dropout", 0.5, 0.5)}

    run(search_of(suggest=one_value))
    run(search_of(suggest=one_value, max_epochs=3))
    [record] = ledger_of(search_of())
    assert len(record.history) == 3


def test_stopped_trials_stay_and_rungs_are_those_of_the_new_epochs(search_of: Make, run: Run):
    study = replace(PLAIN, scheduler=Scheduler.ASHA, reduction_factor=2.0)
    run(search_of(num_trials=6), study=study)
    before = {record.trial_id: record for record in ledger_of(search_of())}
    run(search_of(num_trials=6, max_epochs=8, grace_epochs=3), study=study)
    after = {record.trial_id: record for record in ledger_of(search_of())}
    assert before.keys() == after.keys()
    for name, record in before.items():
        if record.status is Status.STOPPED:
            assert after[name] == record
        else:
            assert after[name].history[:2] == record.history
            assert len(after[name].history) in (3, 4, 5, 6, 7, 8)
            assert (len(after[name].history) == 8) == (after[name].status is Status.COMPLETED)
