"""Going on with a study: finished, extended, under a name that is taken, with other flags or data."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.storage.paths import StudyPaths
from study.trials.ledger import Status, read_ledger


def test_finished_study_says_so_and_stays_as_it_is(
    done: Any, run_here: Callable[..., Any], tmp_path: Path, snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    study = done.copied(tmp_path / "results")
    before = snapshot(study.output)
    again = run_here(*study.words, "--resume")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("study demo is done: every trial has run.\n")
    after = snapshot(study.output)
    changed = {path for path in after if before.get(path) != after[path]}
    assert after.keys() - {"demo/report.html"} == before.keys() - {"demo/report.html"}
    assert changed <= {"demo/demo/best_config.json", "demo/report.html"}  # only when it was made may differ
    old, new = (json.loads(files["demo/demo/best_config.json"]) for files in (before, after))
    assert old | {"provenance": None} == new | {"provenance": None}


def test_name_that_is_taken_is_refused(
    done: Any, run_here: Callable[..., Any], snapshot: Callable[[Path], dict[str, bytes]]
) -> None:
    before = snapshot(done.output)
    again = run_here(*done.words)
    assert again.code == 2
    assert again.err == (
        f"error: {done.results.root}: this study exists; resume it with --resume, or give another --name or --output.\n"
    )
    assert snapshot(done.output) == before


@pytest.mark.parametrize(
    ("flag", "difference"),
    [
        ("--seed=1", "seed was 0, now 1"),
        ("--grace-epochs=2", "datasets.demo.grace_epochs was 1, now 2"),
        ("--scheduler=none", 'scheduler was "asha", now "none"'),
        ("--sampler=random", 'sampler was "prior", now "random"'),
        ("--reduction-factor=2", "reduction_factor was 3.0, now 2.0"),
        ("--image-size=48", "datasets.demo.image_size was 32, now 48"),
        ("--backbone=resnet34", 'datasets.demo.backbone was "resnet18", now "resnet34"'),
    ],
)
def test_another_signature_is_shown_and_refused(
    done: Any, run_here: Callable[..., Any], snapshot: Callable[[Path], dict[str, bytes]], flag: str, difference: str
) -> None:
    before = snapshot(done.output)
    again = run_here(*done.words, "--resume", flag)
    assert again.code == 2
    assert again.err.count("\n") == 1
    assert f"is another study ({difference})" in again.err
    assert snapshot(done.output) == before


def test_other_data_are_shown_and_refused(
    done: Any,
    run_here: Callable[..., Any],
    new_data: Callable[[], Path],
    snapshot: Callable[[Path], dict[str, bytes]],
) -> None:
    data, before = new_data(), snapshot(done.output)
    labels = data / "demo" / "attributes" / "image_attribute_labels.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:-1]))
    fingerprint = json.loads(done.results.study.read_text())["datasets"]["demo"]["data"]["fingerprint"]
    again = run_here(*done.words, "--resume", "--num-trials=6", "--data-root", data)
    assert again.code == 2
    assert f'datasets.demo.fingerprint was "{fingerprint}", now "sha256:' in again.err
    assert snapshot(done.output) == before


def test_more_trials_extend_a_study(
    done: Any,
    run_here: Callable[..., Any],
    tmp_path: Path,
    snapshot: Callable[[Path], dict[str, bytes]],
    states: Callable[[StudyPaths], dict[str, TrialState]],
) -> None:
    study = done.copied(tmp_path / "results")
    before = snapshot(study.files.trials)
    longer = run_here(*study.words, "--resume", "--num-trials=8")
    assert (longer.code, longer.err) == (0, "")
    assert "resuming study demo" in longer.out
    after = snapshot(study.files.trials)
    assert after.items() >= before.items()
    records = read_ledger(study.files.trials)
    assert [record.number for record in records] == list(range(8))
    assert len({json.dumps(record.config, sort_keys=True) for record in records}) == 8
    assert {record.status for record in records} <= {Status.COMPLETED, Status.STOPPED}
    assert states(study.results).keys() == {record.trial_id for record in records}
    assert TrialState.RUNNING not in states(study.results).values()
    assert len(list(csv.DictReader(study.files.trials_table.read_text().splitlines()))) == 8
