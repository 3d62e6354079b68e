"""Optuna's journal, written from the ledger and read back by Optuna."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial, TrialState, create_trial

from pan_model.objective import Objective
from search_spaces import SPACES
from study.config.search_space import replay
from study.storage.files import exists
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialRecord
from study.tuning.dataset_search import DatasetSearch
from study.tuning.journal import (
    COPY_INTERVAL_S,
    STATES,
    Journal,
    JournalCopy,
    correct_journal,
    final_value,
    points_to_try,
    write_journal,
)

METRIC = "few_shot_accuracy"
SPACE = SPACES["demo"]
Make = Callable[..., TrialRecord]


@pytest.fixture
def records(record: Make) -> list[TrialRecord]:
    return [
        record(0, Status.COMPLETED, 0.5, 0.75, 0.6),
        record(1, Status.STOPPED, 0.9, 0.4),
        record(2, Status.FAILED, error="it broke"),
        record(3, Status.FAILED, 0.25, error="it broke later"),
        record(4, Status.RUNNING, 0.3),
        record(5, Status.STOPPED),
    ]


def read(path: Path) -> list[optuna.trial.FrozenTrial]:
    return load(path).trials


def search(mode: Any = "max") -> DatasetSearch:
    return DatasetSearch(
        paths=StudyPaths(Path("results")).dataset("demo"),
        objective=Objective(METRIC, mode),
        space=SPACE,
        num_trials=16,
        max_epochs=9,
        grace_epochs=3,
        seed=0,
        fingerprint="sha256:1",
        features={},
    )


def write(path: Path, records: list[TrialRecord], mode: Any = "max") -> None:
    write_journal(path, records, search(mode))


def load(path: Path) -> optuna.Study:
    return optuna.load_study(study_name="demo", storage=JournalStorage(JournalFileBackend(str(path))))


def test_states_and_values_are_those_of_the_ledger(tmp_path: Path, records: list[TrialRecord]):
    write(tmp_path / "optuna.log", records)
    trials = read(tmp_path / "optuna.log")
    assert [(trial.user_attrs["trial_id"], trial.state, trial.value) for trial in trials] == [
        ("trial0", TrialState.COMPLETE, 0.75),
        ("trial1", TrialState.PRUNED, 0.4),
        ("trial2", TrialState.FAIL, None),
        ("trial3", TrialState.FAIL, None),
        ("trial5", TrialState.PRUNED, None),
    ]


def test_every_epoch_is_an_intermediate_value(tmp_path: Path, records: list[TrialRecord]):
    write(tmp_path / "optuna.log", records)
    assert [trial.intermediate_values for trial in read(tmp_path / "optuna.log")] == [
        {1: 0.5, 2: 0.75, 3: 0.6},
        {1: 0.9, 2: 0.4},
        {},
        {1: 0.25},
        {},
    ]


def test_parameters_are_what_the_space_asks_for(tmp_path: Path, records: list[TrialRecord]):
    write(tmp_path / "optuna.log", records)
    by_id = {record.trial_id: record.config for record in records}
    for trial in read(tmp_path / "optuna.log"):
        config = by_id[trial.user_attrs["trial_id"]]
        assert trial.params == {key: config[key] for key in trial.params}
        assert SPACE.suggest(FixedTrial(trial.params)) | {"max_epochs": 9, "seed": 0} == config


def test_the_best_trial_is_the_best_completed_one(tmp_path: Path, record: Make):
    records = [record(0, Status.COMPLETED, 0.5), record(1, Status.COMPLETED, 0.2), record(2, Status.STOPPED, 0.9)]
    for mode, best in (("max", "trial0"), ("min", "trial1")):
        write(tmp_path / f"{mode}.log", records, mode)
        assert load(tmp_path / f"{mode}.log").best_trial.user_attrs["trial_id"] == best


def test_a_journal_is_replaced_and_leaves_nothing_else(tmp_path: Path, records: list[TrialRecord]):
    path = tmp_path / "demo" / "optuna.log"
    write(path, records)
    (path.parent / ".optuna.log").write_text("half of a journ", encoding="utf-8")
    write(path, records[:1])
    assert [trial.user_attrs["trial_id"] for trial in read(path)] == ["trial0"]
    assert [entry.name for entry in path.parent.iterdir()] == ["optuna.log"]


def test_a_broken_journal_is_written_anew(tmp_path: Path, records: list[TrialRecord]):
    (tmp_path / "optuna.log").write_bytes(b'{"op_code": 0, "wor')
    write(tmp_path / "optuna.log", records)
    assert len(read(tmp_path / "optuna.log")) == 5


@pytest.mark.timeout(2, method="signal")
@pytest.mark.parametrize("name", ["optuna.log", ".optuna.log"])
def test_the_lock_of_a_dead_process_is_not_waited_for(tmp_path: Path, records: list[TrialRecord], name: str):
    (tmp_path / f"{name}.lock").symlink_to(tmp_path / name)
    write(tmp_path / "optuna.log", records[:1])
    load(tmp_path / "optuna.log").ask()


def test_a_journal_can_be_gone_on_with(tmp_path: Path, records: list[TrialRecord]):
    write(tmp_path / "optuna.log", records)
    study = load(tmp_path / "optuna.log")
    trial = study.ask()
    SPACE.suggest(trial)
    study.tell(trial, 0.8)
    assert [(trial.number, trial.value) for trial in read(tmp_path / "optuna.log")][-1] == (5, 0.8)


def test_a_journal_is_written_while_trials_run(tmp_path: Path, records: list[TrialRecord]):
    path = tmp_path / "optuna.log"
    journal = Journal(path, records, search())
    parameters = replay(SPACE, records[4].config)
    dashboard = load(path)  # it is open all the time
    numbers = [journal.trial_started(name, parameters) for name in ("a", "b", "c", "d")]
    assert numbers == [5, 6, 7, 8]
    for epoch, value in ((1, 0.1 + 0.2), (2, 0.5)):
        journal.epoch_reported(6, epoch, value)
    journal.trial_finished(6, TrialState.COMPLETE, 0.1 + 0.2)
    journal.trial_finished(7, TrialState.FAIL, None)
    journal.trial_finished(8, TrialState.PRUNED, 0.5)
    assert dashboard.trials[:5] == read(path)[:5]
    assert [look(trial)[1:] for trial in dashboard.trials[5:]] == [
        (TrialState.RUNNING, None, parameters.values, {"trial_id": "a"}, {}),
        (TrialState.COMPLETE, [0.1 + 0.2], parameters.values, {"trial_id": "b"}, {1: 0.1 + 0.2, 2: 0.5}),
        (TrialState.FAIL, None, parameters.values, {"trial_id": "c"}, {}),
        (TrialState.PRUNED, [0.5], parameters.values, {"trial_id": "d"}, {}),
    ]
    assert all(trial.distributions == parameters.distributions for trial in dashboard.trials[5:])
    assert all(trial.datetime_complete for trial in dashboard.trials if trial.state.is_finished())


def test_the_journal_has_what_optuna_itself_would_write(tmp_path: Path, records: list[TrialRecord]):
    write(tmp_path / "ours.log", records)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "its.log")))
    study = optuna.create_study(storage=storage, study_name="demo", direction="maximize")
    for record in records:
        if record.status is not Status.RUNNING:
            parameters = replay(SPACE, record.config)
            study.add_trial(
                create_trial(
                    state=STATES[record.status],
                    value=final_value(record, search().objective),
                    params=parameters.values,
                    distributions=parameters.distributions,
                    intermediate_values={epoch["epoch"]: epoch[METRIC] for epoch in record.history},
                    user_attrs={"trial_id": record.trial_id},
                )
            )
    assert [look(trial) for trial in read(tmp_path / "ours.log")] == [look(trial) for trial in study.trials]
    assert [trial.distributions for trial in read(tmp_path / "ours.log")] == [
        trial.distributions for trial in study.trials
    ]


def leave_running(study: optuna.Study) -> None:
    """Leave a trial that was interrupted."""
    trial = study.ask()
    SPACE.suggest(trial)
    trial.set_user_attr("trial_id", "trial4")
    trial.report(0.3, 1)


def leave_unnamed(study: optuna.Study) -> None:
    """Leave a trial that Optuna created and that never started."""
    study.ask()


def repeat(study: optuna.Study) -> None:
    """A suggestion that was tried before."""
    trial = study.ask()
    SPACE.suggest(trial)
    study.tell(trial, state=TrialState.FAIL)


def never_begin(study: optuna.Study) -> None:
    """A first trial whose turn never came."""
    study.enqueue_trial(SPACE.first_trials[0])


def end_twice(study: optuna.Study) -> None:
    """Leave a trial that was interrupted and went on as another trial of Optuna's."""
    trial = study.ask()
    SPACE.suggest(trial)
    trial.set_user_attr("trial_id", "trial0")
    study.tell(trial, 0.75)


@pytest.mark.parametrize("add", [leave_running, leave_unnamed, repeat, never_begin, end_twice])
def test_what_the_ledger_lacks_is_taken_out_of_the_journal(
    tmp_path: Path, records: list[TrialRecord], add: Callable[[optuna.Study], None]
):
    path = tmp_path / "optuna.log"
    write(path, records)
    before = read(path)
    add(load(path))
    assert len(read(path)) == len(before) + 1
    correct_journal(path, records, search())
    assert [look(trial) for trial in read(path)] == [look(trial) for trial in before]
    assert [entry.name for entry in tmp_path.iterdir()] == ["optuna.log"]


def look(trial: optuna.trial.FrozenTrial) -> tuple[Any, ...]:
    """All of a trial but its times."""
    return trial.number, trial.state, trial.values, trial.params, trial.user_attrs, trial.intermediate_values


def test_the_ledger_s_word_on_a_trial_s_end_stands(tmp_path: Path, records: list[TrialRecord], record: Make):
    path = tmp_path / "optuna.log"
    write(path, [records[0], record(1, Status.COMPLETED, 0.9, 0.4), *records[2:]])
    correct_journal(path, records, search())
    assert read(path)[1].state is TrialState.PRUNED
    write(path, records[:3])
    correct_journal(path, records, search())
    assert [trial.user_attrs["trial_id"] for trial in read(path)] == ["trial0", "trial1", "trial2", "trial3", "trial5"]


@pytest.mark.parametrize("num_trials", [0, 3, 6])
def test_a_journal_that_says_what_the_ledger_says_is_left_alone(
    tmp_path: Path, records: list[TrialRecord], num_trials: int
):
    path = tmp_path / "optuna.log"
    write(path, records[:num_trials])
    before = path.read_bytes(), path.stat().st_mtime_ns
    correct_journal(path, records[:num_trials], search())
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_what_optuna_is_told(record: Make):
    for mode, best in (("max", 0.75), ("min", 0.5)):
        assert final_value(record(0, Status.COMPLETED, 0.5, 0.75, 0.6), search(mode).objective) == best
        assert final_value(record(0, Status.STOPPED, 0.5, 0.75, 0.6), search(mode).objective) == 0.6
        assert final_value(record(0, Status.FAILED, 0.5), search(mode).objective) is None
        assert final_value(record(0, Status.RUNNING, 0.5), search(mode).objective) is None
        assert final_value(record(0, Status.STOPPED), search(mode).objective) is None


@pytest.mark.parametrize("number", range(12))
def test_replay_finds_the_parameters_again(suggested: Callable[[int], dict[str, Any]], number: int):
    trial = optuna.create_study(sampler=RandomSampler(seed=number)).ask()
    SPACE.suggest(trial)
    assert replay(SPACE, suggested(number)) == (trial.params, trial.distributions)


def test_interrupted_trials_come_first_then_the_first_trials_that_never_started(
    record: Make, records: list[TrialRecord]
):
    first = [search().complete(SPACE.suggest(FixedTrial(point))) for point in SPACE.first_trials]
    assert points_to_try([], search()) == list(SPACE.first_trials)
    started = record(6, Status.COMPLETED, 0.5, config=first[0])
    interrupted = replay(SPACE, records[4].config).values
    assert points_to_try([*records, started], search()) == [interrupted, *SPACE.first_trials[1:]]
    all_started = [record(7, Status.FAILED, config=config) for config in first]
    assert points_to_try(all_started, search()) == []


def test_an_interrupted_first_trial_comes_once(record: Make):
    point = SPACE.first_trials[1]
    config = search().complete(SPACE.suggest(FixedTrial(point)))
    interrupted = record(0, Status.RUNNING, 0.5, config=config, trial_id=search().identify(config))
    assert points_to_try([interrupted], search()) == [point, SPACE.first_trials[0], *SPACE.first_trials[2:]]


def test_on_a_disk_the_journal_is_the_results_own(tmp_path: Path):
    journal = JournalCopy(tmp_path / "demo" / "optuna.log", tmp_path / "elsewhere")
    assert journal.file == tmp_path / "demo" / "optuna.log"
    journal.copy(now=True)
    assert not list(tmp_path.iterdir())


def test_a_copy_is_made_now_and_then_and_when_it_is_asked_for(store: Any, bucket: Location, tmp_path: Path):
    now_s = 0.0
    journal = JournalCopy(bucket / "optuna.log", tmp_path, clock=lambda: now_s)
    assert journal.file == tmp_path / "optuna.log"
    for text, at_s, now, kept in [
        ("a", COPY_INTERVAL_S - 1, False, None),
        ("b", COPY_INTERVAL_S, False, "b"),
        ("c", 2 * COPY_INTERVAL_S - 1, False, "b"),
        ("d", 2 * COPY_INTERVAL_S - 1, True, "d"),
    ]:
        journal.file.write_text(text)
        now_s = at_s
        journal.copy(now=now)
        assert exists(bucket / "optuna.log") is (kept is not None)
        assert kept is None or (bucket / "optuna.log").read_text() == kept
