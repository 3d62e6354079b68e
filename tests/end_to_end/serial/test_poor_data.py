"""Data that a study can do without: bad images are left out, trials that want labels fail, the others go on."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pan_model.data.demo import DemoConfig, draw_demo
from study.storage.paths import StudyPaths


@pytest.fixture(scope="module")
def unlabelled(
    run_here: Any,
    flags: Callable[..., list[str]],
    spoil: Callable[[Path], tuple[Path, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """A study of data with two bad images and no certain label: trials that want labels cannot be trained."""
    data, output = tmp_path_factory.mktemp("unlabelled"), tmp_path_factory.mktemp("results")
    config = DemoConfig(
        num_classes=20, images_per_class=12, image_size=32, missing_fraction=0.0, uncertain_fraction=1.0
    )
    draw_demo(data / "demo", config)
    bad = spoil(data)
    words = flags(output, "--skip-bad-images", "--num-trials=2", "--max-epochs=2", "--executor=serial", data=data)
    return {"data": data, "bad": bad, "results": StudyPaths(output / "demo"), "finished": run_here(*words)}


def test_skipped_images_are_counted_and_listed(unlabelled: dict[str, Any]) -> None:
    finished, results = unlabelled["finished"], unlabelled["results"]
    assert (finished.code, finished.err) == (0, "")
    assert "demo: 2 left out (unreadable image)" in finished.out.splitlines()
    data = json.loads(results.study.read_text())["datasets"]["demo"]["data"]
    assert data["left_out"] == {"unreadable image": 2}
    listed = {f"{image.parent.name}/{image.name}" for image in unlabelled["bad"]}
    assert data["unreadable"].keys() == listed
    for image in unlabelled["bad"]:
        assert image.name in finished.out


def test_trial_that_raises_has_failed_and_the_others_go_on(unlabelled: dict[str, Any]) -> None:
    files = unlabelled["results"].dataset("demo")
    rows = list(csv.DictReader(files.trials_table.read_text().splitlines()))
    assert [(row["config.supervision"], row["status"]) for row in rows] == [
        ("supervised", "failed"),
        ("unsupervised", "completed"),
    ]
    assert "needs attributes with certain labels; the dataset has none." in rows[0]["error"]
    assert rows[1]["error"] == ""
    storage = JournalStorage(JournalFileBackend(str(files.journal)))
    trials = optuna.load_study(study_name="demo", storage=storage).trials
    assert [trial.state for trial in trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert json.loads(files.best_config.read_text())["study"]["failed"] == 1


def test_without_labels_every_baseline_is_there(unlabelled: dict[str, Any]) -> None:
    [row] = csv.DictReader(unlabelled["results"].summary_table.read_text().splitlines())
    names = json.loads(unlabelled["results"].study.read_text())["datasets"]["demo"]["baselines"]
    assert "attributes_only" not in names
    assert all(float(row[f"val.{name}"]) > 0.2 for name in names)


def test_a_study_whose_trials_all_fail_ends_with_1(
    unlabelled: dict[str, Any], run_here: Any, flags: Callable[..., list[str]], tmp_path: Path
) -> None:
    more = ("--skip-bad-images", "--num-trials=1", "--max-epochs=1", "--executor=serial")
    finished = run_here(*flags(tmp_path, *more, data=unlabelled["data"]))
    assert (finished.code, finished.err) == (1, "")
    assert "no trial completed" in finished.out
    assert not StudyPaths(tmp_path / "demo").dataset("demo").best_config.exists()
