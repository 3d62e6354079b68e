"""study/collate.py from end to end: the tables again, of a study that is finished, cut or running."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from study.app.commands import collate_command, status_command
from study.storage.paths import StudyPaths
from study.trials.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

TABLES = ("summary.md", "summary.csv", "demo/trials.csv", "demo/history.csv")


@pytest.fixture
def study(done: Any, tmp_path: Path) -> Any:
    return done.copied(tmp_path / "results")


def test_finished_study_has_the_same_tables_again(
    study: Any, commands: Any, snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    before = snapshot(study.results.root)
    for table in TABLES:
        (study.results.root / table).unlink()
    study.files.best_config.unlink()
    again = commands.run("collate", study.results.root)
    assert (again.code, again.err) == (0, "")
    after = snapshot(study.results.root)
    assert after.keys() == before.keys()
    assert {path: after[path] for path in TABLES} == {path: before[path] for path in TABLES}
    old, new = (json.loads(files["demo/best_config.json"]) for files in (before, after))
    assert old | {"provenance": None} == new | {"provenance": None}


def test_screen_names_the_tables(study: Any, run_here: Callable[..., Any]) -> None:
    again = run_here(study.results.root, command=collate_command)
    lines = again.out.splitlines()
    assert lines[0].startswith("demo: 5 trials, ")
    assert [Path(line.strip()) for line in lines[1:]] == [study.files.trials_table, study.results.summary]


def test_cut_trial_is_running_in_the_table(study: Any, run_here: Callable[..., Any]) -> None:
    last = read_ledger(study.files.trials)[-1].trial_id
    (study.files.trials / last / "status.json").unlink()
    assert run_here(study.results.root, command=collate_command).code == 0
    rows = list(csv.DictReader(study.files.trials_table.read_text().splitlines()))
    assert [row["trial_id"] for row in rows if row["status"] == "running"] == [last]
    [summary] = csv.DictReader(study.results.summary_table.read_text().splitlines())
    assert summary["running"] == "1"


def test_line_that_was_cut_does_not_count(study: Any, run_here: Callable[..., Any]) -> None:
    before = study.files.history_table.read_bytes()
    last = read_ledger(study.files.trials)[-1].trial_id
    with (study.files.trials / last / "history.jsonl").open("a") as lines:
        lines.write('{"epoch": 99, "few_shot')
    assert run_here(study.results.root, command=collate_command).code == 0
    assert study.files.history_table.read_bytes() == before


def test_study_without_a_completed_trial_has_no_best_config(study: Any, run_here: Callable[..., Any]) -> None:
    for status in study.files.trials.glob("*/status.json"):
        status.unlink()
    study.files.best_config.unlink()
    assert run_here(study.results.root, command=collate_command).code == 0
    assert not study.files.best_config.exists()
    assert "No trial has completed; few_shot_accuracy:" in study.results.summary.read_text()


@pytest.mark.parametrize("lacking", ["baselines.json", "trials/*/best_epoch.json"])
def test_study_cut_before_a_file_was_written_has_a_summary_with_less(
    study: Any, run_here: Callable[..., Any], lacking: str
) -> None:
    [before] = csv.DictReader(study.results.summary_table.read_text().splitlines())
    for file in study.files.folder.glob(lacking):
        file.unlink()
    assert run_here(study.results.root, command=collate_command).code == 0
    [after] = csv.DictReader(study.results.summary_table.read_text().splitlines())
    lost = {key for key in before if before[key] != after[key]}
    assert {"val_ahead.paper_setting"} <= lost
    assert all(key.startswith("val") and not after[key] for key in lost)
    assert ("val.paper_setting" in lost) is (lacking == "baselines.json")
    assert ("val.PAN" in lost) is (lacking != "baselines.json")


@pytest.fixture(scope="module")
def running(commands: Any, flags: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A study that runs on while it is looked at, then is killed."""
    output = tmp_path_factory.mktemp("running")
    words = flags(output, "--scheduler=none", "--max-epochs=200", "--num-trials=50", "--max-concurrent=1")
    started = commands.start("run", *words)
    results = StudyPaths(output / "demo")
    started.wait_until(lambda: any(record.history for record in read_ledger(results.dataset("demo").trials)))
    yield started, results
    started.kill()


def test_running_study_has_tables_and_runs_on(running: Any, run_here: Callable[..., Any]) -> None:
    started, results = running

    def rows_of_now() -> list[dict[str, str]]:
        again = run_here(results.root, command=collate_command)
        assert (again.code, again.err) == (0, "")
        return list(csv.DictReader(results.dataset("demo").trials_table.read_text().splitlines()))

    started.wait_until(lambda: "running" in {row["status"] for row in rows_of_now()})  # and not between two trials
    rows = list(csv.DictReader(results.dataset("demo").trials_table.read_text().splitlines()))
    assert float(rows[0]["metric"]) > 0
    epochs = [
        int(row["epoch"])
        for row in csv.DictReader(results.dataset("demo").history_table.read_text().splitlines())
        if row["trial_id"] == rows[0]["trial_id"]
    ]
    assert epochs == list(range(1, len(epochs) + 1))
    spent = sum(len(record.history) for record in read_ledger(results.dataset("demo").trials))
    started.wait_until(lambda: sum(len(one.history) for one in read_ledger(results.dataset("demo").trials)) > spent)


def test_running_study_says_where_it_is(running: Any, run_here: Callable[..., Any]) -> None:
    started, results = running
    said: list[str] = []

    def tells_of_a_running_trial() -> bool:
        now = run_here(results.root, command=status_command)
        assert (now.code, now.err) == (0, "")
        said[:] = now.out.splitlines()
        return any(line.startswith("  running: trial ") and "epoch 0/" not in line for line in said)

    files = {path for path in results.root.rglob("*") if "trials" not in path.parts}
    started.wait_until(tells_of_a_running_trial)
    assert said[0].startswith("study demo, begun ")
    assert "/50 trials, " in said[1]
    assert "last epoch " in said[-1]
    written = {path for path in results.root.rglob("*") if "trials" not in path.parts} - files
    assert all("tensorboard" in path.parts or path.name.startswith((".optuna", "optuna")) for path in written)


@pytest.mark.parametrize("command", ["collate", "status"])
def test_folder_that_is_no_study_is_refused(commands: Any, tmp_path: Path, command: str) -> None:
    refused = commands.run(command, tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"error: {tmp_path}: holds no study.json; give the folder of a study, such as results/demo.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["nowhere"], []])
def test_no_folder_is_refused(run_here: Callable[..., Any], words: list[str]) -> None:
    refused = run_here(*words, command=collate_command)
    assert refused.code == 2
    assert refused.err.startswith("error: ")
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"datasets": {"demo": {}}}'])
def test_study_json_that_is_none_is_refused(run_here: Callable[..., Any], tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    refused = run_here(tmp_path, command=collate_command)
    assert refused.code == 2
    assert str(tmp_path / "study.json") in refused.err
    assert refused.err.count("\n") == 1


def test_final_training_of_a_time_with_fewer_baselines_leaves_their_cells_empty(
    study: Any, run_here: Callable[..., Any]
) -> None:
    metric, entry = "few_shot_accuracy", {"mean": 0.5, "difference": 0.1, "ci95": [0.0, 0.9]}
    methods = {"nearest_class_mean": {metric: entry}}
    trial = json.loads(study.files.best_config.read_text())["trial_id"]
    older = {"trial_id": trial, "metrics": {metric: entry}, "baselines": methods, "paired": methods}
    study.files.final_metrics.parent.mkdir()
    study.files.final_metrics.write_text(json.dumps(older))
    assert run_here(study.results.root, command=collate_command).code == 0
    [row] = csv.DictReader(study.results.summary_table.read_text().splitlines())
    assert [row[f"test.{name}"] for name in ("PAN", "nearest_class_mean", "paper_setting")] == ["0.5", "0.5", ""]


@pytest.mark.parametrize("file", ["config.json", "status.json", "best_epoch.json", "../../baselines.json"])
def test_broken_ledger_is_refused_by_its_file(study: Any, run_here: Callable[..., Any], file: str) -> None:
    winner = json.loads(study.files.best_config.read_text())["trial_id"]  # of others the best epoch is not read
    broken = (study.files.trials / winner / file).resolve()
    broken.write_text("{}")
    refused = run_here(study.results.root, command=collate_command)
    assert refused.code == 2
    assert str(broken) in refused.err
    assert refused.err.count("\n") == 1
