"""Every executor runs the same trials and leaves the same files."""

import csv
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial, TrialState
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.errors import MachineFault, UserError
from pan_model.flat import Scalar
from pan_model.tasks.few_shot import FewShotTask
from search_spaces import SearchSpace
from study.config.choices import Executor, Sampler
from study.config.study_config import StudyConfig
from study.nodes.ray_session import ray_session
from study.nodes.slots import Slots
from study.reporting.tables import write_tables
from study.storage.files import write_json
from study.storage.paths import StudyPaths
from study.terminal import Terminal
from study.trials.ledger import Status, TrialRecord
from study.trials.preparation import PreparedDataset
from study.trials.selection.confirmation import Selection
from study.trials.tensorboard_events import events_folder
from study.trials.trial import TrialEnvironment
from study.tuning.budget import Budget, GpuMeter
from study.tuning.confirmation import confirm_best, read_selection
from study.tuning.dataset_search import DatasetSearch
from study.tuning.progress import SearchProgress
from study.tuning.ray_executor import run_on_ray
from study.tuning.serial_executor import run_serially

pytestmark = pytest.mark.timeout(900)

METRIC = FewShotTask.objective.name
MAX_EPOCHS = 3
STUDY = StudyConfig(max_failures=1, max_concurrent=1, sampler=Sampler.TPE)


def suggest(trial: Any) -> dict[str, Any]:
    return {
        "encoder": "siamese",
        "supervision": "unsupervised",
        "num_conditions": trial.suggest_int("num_conditions", 1, 32, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 1e-6, 1e-2, log=True),
        "weight_decay": trial.suggest_categorical("weight_decay", (0.0, 1e40)),
        "pairs": "fresh",
        "pairs_per_epoch": 64,
        "steps_per_epoch": 2,
    }


POINTS: list[dict[str, Scalar]] = [
    {"num_conditions": 16, "learning_rate": 1e-3, "weight_decay": 0.0},
    {"num_conditions": 4, "learning_rate": 1e-2, "weight_decay": 1e40},
    {"num_conditions": 5, "learning_rate": 1e-3, "weight_decay": 0.0},
    {"num_conditions": 1, "learning_rate": 1e-6, "weight_decay": 0.0},
    {"num_conditions": 1, "learning_rate": 1e-5, "weight_decay": 0.0},
]
COMPLETED, BROKEN, NO_DISK, *WEAK = POINTS
SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(COMPLETED, BROKEN, NO_DISK, *WEAK),
    paper_setting={},
    num_trials=7,
    max_epochs=MAX_EPOCHS,
)


@pytest.fixture(scope="module")
def prepared() -> PreparedDataset:
    """A small dataset whose features are the places of its classes, with noise."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(20), 8)
    places = generator.normal(size=(20, 6))
    attributes = places[classes] > 0
    featured = FeaturedItems(
        features=(places[classes] + generator.normal(size=(len(classes), 6))).astype(np.float32),
        classes=classes,
        attributes=attributes,
        certain=np.ones_like(attributes),
        attribute_names=tuple("abcdef"),
        splits={
            Split.TRAIN: np.flatnonzero(classes % 2 == 0),
            Split.VAL: np.flatnonzero(classes % 4 == 1),
            Split.TEST: np.flatnonzero(classes % 4 == 3),
        },
    )
    return PreparedDataset(
        dataset="demo",
        featured=featured,
        fingerprint="sha256:1",
        features={},
        left_out={},
        unreadable={},
        from_cache=True,
    )


@pytest.fixture(scope="module", params=[Executor.SERIAL, pytest.param(Executor.RAY, marks=pytest.mark.ray)])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Each executor; one Ray session serves all tests of the executor on Ray."""
    if request.param is Executor.SERIAL:
        yield request.param
        return
    with ray_session(STUDY, lambda _: None):
        yield request.param


def run_search(
    executor: Executor, search: DatasetSearch, prepared: PreparedDataset, is_over: Callable[[], bool] = lambda: False
) -> SearchProgress:
    """Run a search until there are enough trials or it is over, as if its time budget were used up."""
    environment = TrialEnvironment(results=StudyPaths(search.paths.root), num_threads=1)
    progress = SearchProgress(search.records(), search.objective)
    budget = Budget(seconds=1.0, meter=GpuMeter(lambda: 0.0), clock=lambda: 2.0 if is_over() else 0.0)
    arguments = ([search], environment, {"demo": prepared}, STUDY)
    watch: dict[str, Any] = {"budget": budget, "progress": {"demo": progress}, "update": lambda: None}
    if executor is Executor.SERIAL:
        run_serially(*arguments, **watch)
    else:
        run_on_ray(*arguments, Slots(cpus=1, gpus=0.0, count=1), **watch)
    return progress


def search_in(root: Path, space: SearchSpace = SPACE) -> DatasetSearch:
    return DatasetSearch(
        paths=StudyPaths(root).dataset("demo"),
        objective=FewShotTask.objective,
        space=space,
        num_trials=space.num_trials,
        max_epochs=MAX_EPOCHS,
        grace_epochs=1,
        seed=0,
        fingerprint="sha256:1",
        features={},
    )


def id_of(search: DatasetSearch, point: dict[str, Any]) -> str:
    return search.identify(search.complete(suggest(FixedTrial(point))))


def run_interrupted(executor: Executor, root: Path, prepared: PreparedDataset) -> dict[str, Any]:
    """Interrupt a search in its first trial, then go on; the third trial cannot write its checkpoint."""
    search = search_in(root)
    obstacle = search.paths.trials / id_of(search, NO_DISK) / "checkpoint"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    run_search(executor, search, prepared, lambda: any(record.history for record in search.records()))
    first, journal = search.records(), read_journal(search)
    progress = run_search(executor, search, prepared)
    return {"search": search, "first": first, "first_journal": journal, "progress": progress}


@pytest.fixture(scope="module")
def interrupted(
    executor: Executor, prepared: PreparedDataset, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    return run_interrupted(executor, tmp_path_factory.mktemp("results"), prepared)


def read_journal(search: DatasetSearch) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(search.paths.journal)))
    return optuna.load_study(study_name="demo", storage=storage).trials


def without_times(history: list[Any]) -> list[dict[str, float]]:
    return [{key: value for key, value in epoch.items() if not key.startswith("time/")} for epoch in history]


def left_by(search: DatasetSearch) -> dict[str, Any]:
    """Return what a search leaves, less times and the folder that it is in."""
    records = search.records()
    write_tables(search.paths, records, search.objective)
    with Path(str(search.paths.trials_table)).open(newline="") as file:
        rows = [{**row, "wall_s": None, "started": None, "ended": None} for row in csv.DictReader(file)]
    root = str(search.paths.root)
    states = [torch.load(file, weights_only=True) for file in sorted(Path(root).rglob("state.pt"))]
    return {
        "records": [
            replace(record, history=without_times(record.history), error=record.error.replace(root, "ROOT"))
            for record in records
        ],
        "table": [{key: value and value.replace(root, "ROOT") for key, value in row.items()} for row in rows],
        "journal": [
            (trial.user_attrs, trial.state, trial.values, trial.params, trial.intermediate_values)
            for trial in read_journal(search)
        ],
        "epochs of checkpoints": [state["record"]["epoch"] for state in states],
        "files": sorted(
            str(path.relative_to(root))
            for path in Path(root).rglob("*")
            if path.is_file() and "tfevents" not in path.name
        ),
    }


def by_id(search: DatasetSearch) -> dict[str, TrialRecord]:
    return {record.trial_id: record for record in search.records()}


def test_an_interrupted_trial_runs_in_the_ledger_and_goes_on(interrupted: dict[str, Any]):
    [record] = interrupted["first"]
    assert record.trial_id == id_of(interrupted["search"], COMPLETED)
    assert record.status is Status.RUNNING
    assert interrupted["first_journal"] == []
    ended = by_id(interrupted["search"])[record.trial_id]
    assert (ended.status, [epoch["epoch"] for epoch in ended.history]) == (Status.COMPLETED, [1, 2, 3])
    assert ended.history[: len(record.history)] == record.history


def test_a_trial_with_an_error_of_its_own_has_failed(interrupted: dict[str, Any]):
    record = by_id(interrupted["search"])[id_of(interrupted["search"], BROKEN)]
    assert record.status is Status.FAILED
    assert " is " in record.error
    assert record.error.endswith("in epoch 1")


def test_a_trial_whose_disk_fails_starts_again_until_it_is_given_up(interrupted: dict[str, Any]):
    record = by_id(interrupted["search"])[id_of(interrupted["search"], NO_DISK)]
    assert record.status is Status.FAILED
    assert record.error.startswith("given up after 2 failures: ")
    assert "checkpoint" in record.error


def test_asha_stops_weak_trials(interrupted: dict[str, Any]):
    records = [by_id(interrupted["search"])[id_of(interrupted["search"], point)] for point in WEAK]
    assert Status.STOPPED in {record.status for record in records}


def test_the_ledger_the_journal_and_the_counts_agree(interrupted: dict[str, Any]):
    records = interrupted["search"].records()
    assert [record.number for record in records] == list(range(SPACE.num_trials))
    states = {Status.COMPLETED: TrialState.COMPLETE, Status.STOPPED: TrialState.PRUNED, Status.FAILED: TrialState.FAIL}
    journal = {trial.user_attrs["trial_id"]: trial.state for trial in read_journal(interrupted["search"])}
    assert journal == {record.trial_id: states[record.status] for record in records}
    progress = interrupted["progress"]
    assert progress.ended == SPACE.num_trials
    assert {status: count for status, count in progress.counts.items() if count} == {
        status: sum(record.status is status for record in records) for status in {record.status for record in records}
    }


def test_every_epoch_is_in_tensorboard(interrupted: dict[str, Any]):
    search = interrupted["search"]
    for record in search.records():
        if not record.history:
            continue
        accumulator = EventAccumulator(str(events_folder(search.paths, record)))
        accumulator.Reload()
        assert [event.step for event in accumulator.Scalars(METRIC)] == [epoch["epoch"] for epoch in record.history]


def test_the_serial_executor_leaves_the_same(interrupted: dict[str, Any], prepared: PreparedDataset, tmp_path: Path):
    serial = run_interrupted(Executor.SERIAL, tmp_path, prepared)
    assert left_by(interrupted["search"]) == left_by(serial["search"])


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own, with room for one checkpoint; unmounted at the end."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not permitted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_search_and_fails_no_trial(
    executor: Executor, prepared: PreparedDataset, tmp_path: Path, full_disk: Path
):
    search = search_in(tmp_path / "results", replace(SPACE, num_trials=2))
    trial = search.paths.trials / id_of(search, COMPLETED)
    trial.mkdir(parents=True)
    (trial / "checkpoint").symlink_to(full_disk)
    with pytest.raises(MachineFault, match=r"checkpoint/state.pt: No space left on device; make room there$"):
        run_search(executor, search, prepared)
    [before] = search.records()
    assert (before.status, len(before.history)) == (Status.RUNNING, 1)
    subprocess.run(["mount", "-o", "remount,size=1m", str(full_disk)], check=True)
    write_json(trial / "status.json", {"status": "failed", "error": EARLIER_FAULT})
    run_search(executor, search, prepared)
    after = by_id(search)
    assert {record.trial_id: record.status for record in after.values()} == {
        trial.name: Status.COMPLETED,
        id_of(search, BROKEN): Status.FAILED,
    }
    assert after[trial.name].history[0] == before.history[0]


EARLIER_FAULT = "given up after 3 failures: OSError: [Errno 28] No space left on device"
"""The error of a trial on a full disk in earlier releases, which is tried again."""


def suggest_invalid(trial: Any) -> dict[str, Any]:
    return {**suggest(trial), "supervision": "supervised", "gate": "PERHAPS"}


def test_an_invalid_value_of_the_space_ends_the_search_and_leaves_it_whole(
    executor: Executor, prepared: PreparedDataset, tmp_path: Path
):
    search = search_in(tmp_path, replace(SPACE, suggest=suggest_invalid))
    with pytest.raises(UserError, match=r"^the search space of demo suggests an invalid trial: gate must be one of"):
        run_search(executor, search, prepared)
    assert search.records() == []
    assert read_journal(search) == []


def test_the_best_are_confirmed_and_an_interrupted_confirmation_goes_on(
    executor: Executor, interrupted: dict[str, Any], prepared: PreparedDataset
):
    """Nothing that has ended runs again. The chosen epoch is trained from three other seeds, and judged once."""
    search: DatasetSearch = interrupted["search"]

    def confirm(is_over: Callable[[], bool] = lambda: False) -> Selection:
        confirm_best(
            replace(STUDY, executor=executor, confirm=1),
            [search],
            TrialEnvironment(results=StudyPaths(search.paths.root), num_threads=1),
            {"demo": prepared},
            Slots(cpus=1, gpus=0.0, count=1),
            Budget(seconds=1.0, meter=GpuMeter(lambda: 0.0), clock=lambda: 2.0 if is_over() else 0.0),
            Terminal(Console(file=StringIO())),
        )
        return read_selection(search, 1)

    def ended() -> list[str]:
        return [file.parent.name for file in Path(str(search.paths.confirmation)).glob("*/status.json")]

    moments = iter([False])
    assert confirm(lambda: next(moments, True)).missing == 3, "the budget counts the confirmation"
    cut = confirm(lambda: bool(ended()))
    assert (len(ended()), cut.missing, cut.chosen) == (1, 2, None)
    before = Path(str(search.paths.confirmation), ended()[0], "history.jsonl").stat().st_mtime_ns
    (first, *_), selection = ended(), confirm()
    assert selection.missing == 0
    assert selection.chosen is not None
    assert selection.winner is not None
    assert Path(str(search.paths.confirmation), first, "history.jsonl").stat().st_mtime_ns == before
    seeds = [run.config["seed"] for run in selection.chosen.runs]
    assert seeds == selection.chosen.judged_seeds == [1, 2, 3]
    for run in selection.chosen.runs:
        assert len(run.history) == selection.winner[2]
        assert [METRIC in epoch for epoch in run.history] == [False] * (len(run.history) - 1) + [True]
    assert selection.chosen.num_questions == 3 * 5 * 100
    assert confirm() == selection
