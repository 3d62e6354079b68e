"""A study whose driver is killed, with all processes below it: what it has written is whole, and it goes on."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.reporting.collation import collate
from study.storage.paths import StudyPaths
from study.trials.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

LONG = ("--scheduler=none", "--max-epochs=20", "--num-trials=3")
Folders = Callable[[StudyPaths], list[Path]]
States = Callable[[StudyPaths], dict[str, TrialState]]


def has_ended(folder: Path) -> bool:
    return (folder / "status.json").exists()


@pytest.fixture(scope="module")
def killed(
    commands: Any,
    run_here: Callable[..., Any],
    flags: Callable[..., list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    snapshot: Callable[[Path], dict[str, bytes]],
    epochs_of: Callable[[Path], list[int]],
    trial_folders: Folders,
) -> dict[str, Any]:
    """A study killed when one trial has ended and another has not; then to its end by `--resume`, without Ray."""
    output = tmp_path_factory.mktemp("killed")
    results = StudyPaths(output / "demo")
    words = flags(output, *LONG, "--max-concurrent=2")

    def in_the_middle() -> bool:
        folders = trial_folders(results)
        return any(map(has_ended, folders)) and any(
            2 <= len(epochs_of(folder)) < 18 and not has_ended(folder) for folder in folders
        )

    started = commands.start("run", *words)
    started.wait_until(in_the_middle)
    started.kill()
    before = {folder.name: snapshot(folder) for folder in trial_folders(results)}
    epochs = {folder.name: epochs_of(folder) for folder in trial_folders(results)}
    collated = {dataset: records for dataset, (records, _) in collate(results).items()}
    rows = list(csv.DictReader(results.dataset("demo").trials_table.read_text().splitlines()))
    finished = run_here(*words, "--resume", "--executor=serial")
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
    assert "resuming study demo" in finished.out
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
