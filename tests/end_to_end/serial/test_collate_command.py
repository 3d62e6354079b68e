"""study/collate.py: the tables of a finished or interrupted study again."""

import csv
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.app.commands import collate_command, status_command
from study.storage.driver_file import DriverState, read_driver
from study.trials.ledger import read_ledger

TABLES = ("summary.md", "summary.csv", "demo/trials.csv", "demo/history.csv")


@pytest.fixture
def study(done: Any, tmp_path: Path) -> Any:
    return done.copied(tmp_path / "results")


def test_finished_study_has_the_same_tables_again(
    study: Any, run_here: Callable[..., Any], snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    before = snapshot(study.results.root)
    for table in TABLES:
        (study.results.root / table).unlink()
    study.files.best_config.unlink()
    again = run_here(study.results.root, command=collate_command)
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
    lost = {key for key in before if key != "cautions" and "_best" not in key and before[key] != after[key]}
    assert {"val_ahead.paper_setting"} <= lost
    assert all(key.startswith("val") and not after[key] for key in lost)
    assert ("val.paper_setting" in lost) is (lacking == "baselines.json")
    assert ("val.PAN" in lost) is (lacking != "baselines.json")


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


def test_a_finished_study_says_that_it_is_done(done: Any) -> None:
    driver = read_driver(done.results)
    assert driver is not None
    assert (driver.state, driver.reason) == (DriverState.DONE, "")
    assert driver.resume == f"uv run study/run.py {shlex.join([*done.words, '--resume'])}"


def test_a_time_budget_that_is_used_up_is_an_interruption(done: Any, run_here: Any, tmp_path: Path) -> None:
    study = done.copied(tmp_path / "results")
    more = ["--resume", "--num-trials=500", "--executor=serial"]
    run_here(*study.words, *more, "--time-budget=1s")
    driver = read_driver(study.results)
    assert driver is not None
    assert (driver.state, driver.reason) == (DriverState.INTERRUPTED, "the time was up")
    shown = run_here(study.results.root, command=status_command).out.splitlines()
    assert shown[1].startswith("interrupted ")
    assert shown[1].endswith(": the time was up")
    assert "--num-trials=500" in shown[2]
