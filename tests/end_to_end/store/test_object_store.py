"""A study whose results are in a store that fails now and then, killed, cut off, gone on with, and looked at."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from upath import UPath

from study.app.commands import collate_command, final_command
from study.storage.files import read_json, storage_of
from study.storage.location import locate
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialRecord, read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

SHARE = 0.04
"""Of all requests, how many fail."""

NUM_TRIALS = 6
"""Enough that trials are left for each of the three drivers."""

URL = "s3://studies/by/everyone"


@pytest.fixture(scope="module")
def results() -> StudyPaths:
    return StudyPaths(locate(URL) / "demo")


def records_of(results: StudyPaths) -> dict[str, TrialRecord]:
    return {record.trial_id: record for record in read_ledger(results.dataset("demo").trials)}


def names_below(folder: UPath) -> set[str]:
    return {"/".join(file.parts[len(folder.parts) :]) for file in storage_of(folder).list_below(folder)}


@pytest.fixture(scope="module")
def gone_through(
    store: Any, commands: Any, run_here: Any, flags: Callable[..., list[str]], results: StudyPaths
) -> dict[str, Any]:
    """Two drivers on Ray, one killed and one whose store goes away, then one without Ray that comes to the end."""
    words = flags(URL, "--scheduler=none", "--max-epochs=3", f"--num-trials={NUM_TRIALS}", "--max-failures=0")

    def looked_up() -> dict[str, TrialRecord]:
        time.sleep(0.5)  # every look is a request for each object, to a server that drivers ask too
        return records_of(results)

    def in_the_middle() -> bool:
        found = looked_up().values()
        return any(record.status is not Status.RUNNING for record in found) and any(
            record.status is Status.RUNNING and record.history for record in found
        )

    with store.failing(SHARE):
        first = commands.start("run", *words)
        first.wait_until(in_the_middle)
        first.kill()
    killed = records_of(results)
    second = commands.start("run", *words, "--resume")
    second.wait_until(lambda: len(looked_up()) > len(killed))
    with store.failing(down=True):
        cut_off = second.finish()
    left = records_of(results)
    with store.failing(SHARE):
        end = run_here(*words, "--resume", "--executor=serial")
    return {"killed": killed, "cut off": cut_off, "left": left, "end": end}


def test_what_had_ended_when_the_driver_died_is_kept(gone_through: dict[str, Any], results: StudyPaths):
    now = records_of(results)
    assert gone_through["end"].code == 0, gone_through["end"]
    assert [record.status for record in now.values()] == [Status.COMPLETED] * NUM_TRIALS
    for before in (gone_through["killed"], gone_through["left"]):
        for name, record in before.items():
            assert now[name].history[: len(record.history)] == record.history


def test_a_driver_whose_store_goes_away_ends_with_a_line(gone_through: dict[str, Any]):
    cut_off = gone_through["cut off"]
    assert cut_off.code == 2
    line = cut_off.err.strip()
    assert "\n" not in line
    assert line.startswith(f"error: {URL}/demo/")
    assert "); all finished epochs are saved; resume with: uv run study/run.py" in line
    assert line.endswith("--resume")


def test_all_that_a_study_leaves_is_in_the_store(gone_through: dict[str, Any], results: StudyPaths):
    names = names_below(results.root)
    per_epoch = {"history.jsonl", "val_questions.jsonl", "checkpoint/state.pt"}
    per_trial = {"config.json", "best_epoch.json", "status.json"} | per_epoch
    for trial in records_of(results):
        assert {f"demo/trials/{trial}/{name}" for name in per_trial} <= names
        assert any(re.match(rf"tensorboard/demo/\d+-.*-{trial}/events\.", name) for name in names)
    rest = {name for name in names if not name.startswith(("demo/trials/", "tensorboard/", "demo/final/"))}
    of_dataset = {
        f"demo/{name}" for name in ("best_config.json", "examples.json", "trials.csv", "history.csv", "optuna.log")
    }
    of_study = {"study.json", "driver.json", "summary.md", "summary.csv", "report.html", "demo/baselines.json"}
    assert rest == of_study | of_dataset


def test_what_was_made_and_what_is_next_are_urls(gone_through: dict[str, Any]):
    out = gone_through["end"].out
    assert f"  {URL}/demo/demo/best_config.json" in out.splitlines()
    assert f"  uv run study/collate.py {URL}/demo --copy copies/demo" in out.splitlines()
    assert f"uv run study/final.py {URL}/demo/demo/best_config.json" in out


def test_the_same_command_without_resume_is_refused(gone_through: dict[str, Any], run_here: Any, flags: Any):
    again = run_here(*flags(URL))
    assert (again.code, again.out) == (2, "")
    assert again.err.startswith(f"error: {URL}/demo: this study exists; resume it with --resume")


def test_a_copy_for_people_has_the_journal_and_the_events(
    gone_through: dict[str, Any], run_here: Any, results: StudyPaths, tmp_path: Path
):
    done = run_here(f"{URL}/demo", "--copy", tmp_path / "copy", command=collate_command)
    assert done.code == 0, done
    copied = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert copied == {name for name in names_below(results.root) if not name.startswith("demo/trials/")}
    journal = JournalStorage(JournalFileBackend(str(tmp_path / "copy" / "demo" / "optuna.log")))
    trials = optuna.load_study(study_name="demo", storage=journal).get_trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * NUM_TRIALS


def test_a_final_training_is_read_from_the_store_and_written_there(
    gone_through: dict[str, Any],
    store: Any,
    run_here: Any,
    results: StudyPaths,
    data_root: Path,
    cache_dir: Path,
):
    best = results.dataset("demo").best_config
    words = [best, "--data-root", data_root, "--cache-dir", cache_dir, "--seeds", 1, "--jobs", 1]
    with store.failing(SHARE):
        done = run_here(*words, command=final_command)
    assert done.code == 0, done
    names = {"metrics.json", "questions.json", "model.safetensors", "config.json", "model_card.md"}
    assert names_below(best.parent / "final") == names
    assert read_json(best.parent / "final" / "metrics.json", "")["trial_id"] == read_json(best, "")["trial_id"]
    summary = (best.parent.parent / "summary.md").read_text()
    assert "PAN is | test" in " ".join(summary.split())
    assert f"  {results.summary}" in done.out.splitlines()
    again = run_here(*words, command=final_command)
    assert (again.code, again.out) == (2, "")
    assert again.err.startswith(f"error: {URL}/demo/demo/final: exists;")


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("s3://nobody/x", "error: the study cannot be written to s3://nobody/x/demo: "),
        ("s3:/typo", "error: argument --output: 's3:/typo' names no bucket; the form is s3://bucket/prefix"),
        ("gs://bucket/x", "error: argument --output: 'gs://bucket/x' needs the package gcsfs"),
    ],
)
def test_an_output_that_cannot_be_is_a_line_before_any_work(
    store: Any, run_here: Any, tmp_path: Path, output: str, line: str
):
    done = run_here("--output", output, "--data-root", tmp_path / "data", "--cache-dir", tmp_path / "cache")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(line)
    assert "\n" not in done.err.strip()
    assert not list(tmp_path.iterdir())
