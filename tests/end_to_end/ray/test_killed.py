"""A study killed with all its processes below it, or a worker alone: it goes on as if nothing had been."""

import csv
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.reporting.collation import collate
from study.storage.paths import StudyPaths
from study.trials.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

LONG = ("--scheduler=none", "--max-epochs=30", "--num-trials=3")
Folders = Callable[[StudyPaths], list[Path]]
States = Callable[[StudyPaths], dict[str, TrialState]]


def has_ended(folder: Path) -> bool:
    return (folder / "status.json").exists()


@pytest.fixture(scope="module")
def killed(
    commands: Any,
    flags: Callable[..., list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    snapshot: Callable[[Path], dict[str, bytes]],
    epochs_of: Callable[[Path], list[int]],
    trial_folders: Folders,
) -> dict[str, Any]:
    """A study killed when one trial had ended and another had not, and the same after --resume."""
    output = tmp_path_factory.mktemp("killed")
    results = StudyPaths(output / "demo")
    words = flags(output, *LONG, "--max-concurrent=2")

    def in_the_middle() -> bool:
        folders = trial_folders(results)
        return any(map(has_ended, folders)) and any(
            2 <= len(epochs_of(folder)) < 25 and not has_ended(folder) for folder in folders
        )

    started = commands.start("run", *words)
    started.wait_until(in_the_middle)
    started.kill()
    before = {folder.name: snapshot(folder) for folder in trial_folders(results)}
    epochs = {folder.name: epochs_of(folder) for folder in trial_folders(results)}
    collated = {dataset: records for dataset, (records, _) in collate(results).items()}
    rows = list(csv.DictReader(results.dataset("demo").trials_table.read_text().splitlines()))
    finished = commands.run("run", *words, "--resume")
    return {
        "results": results,
        "before": before,
        "epochs": epochs,
        "collated": collated,
        "rows": rows,
        "finished": finished,
    }


def test_killed_study_can_be_collated_as_it_stands(killed: dict[str, Any]) -> None:
    [records] = killed["collated"].values()
    assert {record.trial_id: [epoch["epoch"] for epoch in record.history] for record in records} == killed["epochs"]
    assert {row["trial_id"]: row["status"] for row in killed["rows"]} == {
        record.trial_id: record.status for record in records
    }
    assert {"completed", "running"} == {row["status"] for row in killed["rows"]}


def test_killed_study_goes_on_to_its_end(killed: dict[str, Any], check_whole: Callable[[Any], None]) -> None:
    finished = killed["finished"]
    assert (finished.code, finished.err) == (0, "")
    assert "going on with study demo" in finished.out
    records = read_ledger(killed["results"].dataset("demo").trials)
    assert len(records) == 3
    for record in records:
        check_whole(record)


def test_killed_study_keeps_ended_trials_byte_for_byte(
    killed: dict[str, Any], snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    ended = {name: files for name, files in killed["before"].items() if "status.json" in files}
    assert ended
    for name, files in ended.items():
        assert snapshot(killed["results"].dataset("demo").trials / name) == files


def test_killed_study_neither_repeats_nor_loses_an_epoch(killed: dict[str, Any]) -> None:
    trials = killed["results"].dataset("demo").trials
    cut = [name for name, files in killed["before"].items() if "status.json" not in files]
    assert cut
    for name in cut:
        assert (
            (trials / name / "history.jsonl").read_bytes().startswith(killed["before"][name].get("history.jsonl", b""))
        )


def test_killed_study_has_no_zombies_in_its_journal(
    killed: dict[str, Any], states: States, trial_folders: Folders
) -> None:
    assert states(killed["results"]) == {
        folder.name: TrialState.COMPLETE for folder in trial_folders(killed["results"])
    }


def test_killed_and_resumed_trial_equals_one_that_ran_alone(
    killed: dict[str, Any],
    train_alone: Callable[[Any], Any],
    timeless: Callable[[Any], list[dict[str, Any]]],
) -> None:
    cut = [name for name, files in killed["before"].items() if "status.json" not in files]
    for record in read_ledger(killed["results"].dataset("demo").trials):
        if record.trial_id in cut:
            alone = train_alone(record)
            assert timeless(record) == timeless(alone)
            assert record.best == alone.best


@pytest.fixture
def lose_worker(
    commands: Any,
    flags: Callable[..., list[str]],
    tmp_path: Path,
    epochs_of: Callable[[Path], list[int]],
    trial_folders: Folders,
) -> Callable[[int], dict[str, Any]]:
    """Run a study of one trial whose worker is killed after 3 epochs or more; it may lose so many."""
    results = StudyPaths(tmp_path / "demo")

    def run(max_failures: int) -> dict[str, Any]:
        started = commands.start("run", *flags(tmp_path, *LONG, "--num-trials=1", f"--max-failures={max_failures}"))
        started.wait_until(lambda: any(len(epochs_of(folder)) >= 3 for folder in trial_folders(results)))
        names = ("ray::RayTrial", "ray::ResourceTrainable")  # between epochs, and in one
        workers = [pid for pid, words in started.descendants().items() if words.startswith(names)]
        assert len(workers) == 1
        os.kill(workers[0], signal.SIGKILL)
        [folder] = trial_folders(results)
        before = epochs_of(folder)
        assert not has_ended(folder), f"over before its worker could be killed, after epoch {before[-1]}"
        return {"results": results, "before": before, "finished": started.finish()}

    return run


def test_trial_whose_worker_dies_goes_on_from_its_checkpoint(
    lose_worker: Callable[[int], dict[str, Any]],
    train_alone: Callable[[Any], Any],
    timeless: Callable[[Any], list[dict[str, Any]]],
    states: States,
    check_whole: Callable[[Any], None],
) -> None:
    seen = lose_worker(1)
    assert (seen["finished"].code, seen["finished"].err) == (0, "")
    [record] = read_ledger(seen["results"].dataset("demo").trials)
    check_whole(record)
    assert len(seen["before"]) < len(record.history)
    alone = train_alone(record)
    assert timeless(record) == timeless(alone)
    assert record.best == alone.best
    assert list(states(seen["results"]).values()) == [TrialState.COMPLETE]


def test_trial_whose_worker_dies_once_too_often_has_failed(
    lose_worker: Callable[[int], dict[str, Any]], states: States
) -> None:
    seen = lose_worker(0)
    files = seen["results"].dataset("demo")
    assert (seen["finished"].code, seen["finished"].err) == (1, "")  # the only trial
    assert "no trial completed" in seen["finished"].out
    assert not files.best_config.exists()
    [row] = csv.DictReader(files.trials_table.read_text().splitlines())
    assert (row["status"], len(row["error"].splitlines())) == ("failed", 1)
    assert "worker died" in row["error"]
    [record] = read_ledger(files.trials)
    assert [epoch["epoch"] for epoch in record.history][: len(seen["before"])] == seen["before"]
    assert list(states(seen["results"]).values()) == [TrialState.FAIL]
