"""One study of two datasets, the demo and a small In-Shop, and the final training of the second."""

import csv
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.data.demo import DemoConfig, draw_demo
from pan_model.tasks.retrieval import RECALL_AT
from study.app.commands import final_command
from study.config.choices import BASELINES
from study.storage.paths import StudyPaths

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

LEFT_OUT = {"item without images": 1, "test query whose item has no image in the gallery": 2}
NAMES = {
    "demo": set(BASELINES) - {"reranked", "set_transformer"},
    "inshop": set(BASELINES) - {"logistic_regression", "set_transformer"},
}
"""The baselines of each dataset."""

METRICS = [f"recall@{k}" for k in (1, 10, 20, 30, 40, 50)]


@pytest.fixture(scope="module")
def both(
    run_here: Callable[..., Any],
    flags: Callable[..., list[str]],
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """A study of both, 4 trials of 2 epochs each; one test product of In-Shop has queries and no gallery."""
    data, output = tmp_path_factory.mktemp("both"), tmp_path_factory.mktemp("results")
    draw_demo(data / "demo", DemoConfig(num_classes=20, images_per_class=8, image_size=32))
    runpy.run_path(str(pytestconfig.rootpath / "tests/contracts/drawers/inshop.py"))["draw"](data / "In-shop")
    small = ("--backbone=shufflenet_v2_x0_5", "--weights=random", "--num-trials=4", "--max-epochs=2")
    words = flags(output, "--dataset", "demo", "inshop", *small, data=data)
    return {"data": data, "results": StudyPaths(output / "demo-inshop"), "finished": run_here(*words)}


@pytest.fixture(scope="module")
def final(both: dict[str, Any], run_here: Any, cache_dir: Path) -> dict[str, Any]:
    """The final training of In-Shop."""
    files = both["results"].dataset("inshop")
    words = ("--data-root", both["data"], "--cache-dir", cache_dir, "--seeds=2", "--jobs=1")
    finished = run_here(files.best_config, *words, command=final_command)
    return {"finished": finished, "folder": files.folder / "final"}


def test_one_summary_has_both(both: dict[str, Any]) -> None:
    finished, results = both["finished"], both["results"]
    assert (finished.code, finished.err) == (0, "")
    rows = list(csv.DictReader(results.summary_table.read_text().splitlines()))
    assert [(row["dataset"], row["metric"]) for row in rows] == [
        ("demo", "few_shot_accuracy"),
        ("inshop", "recall@1"),
    ]
    page = results.summary.read_text()
    for row in rows:
        assert row["dataset"] in page
        assert 0 <= float(row["val.PAN"]) <= 1
        assert all(0 <= float(row[f"val.{name}"]) <= 1 for name in NAMES[row["dataset"]])
        assert not any(row.get(f"val.{name}") for name in set(BASELINES) - NAMES[row["dataset"]])


@pytest.mark.parametrize(("dataset", "metric"), [("demo", "few_shot_accuracy"), ("inshop", "recall@1")])
def test_each_has_files_of_its_own(both: dict[str, Any], dataset: str, metric: str) -> None:
    files = both["results"].dataset(dataset)
    best = json.loads(files.best_config.read_text())
    assert (best["dataset"], best["metric"]["name"]) == (dataset, metric)
    assert best["features"]["pooling"] == "avg"
    trials = list(csv.DictReader(files.trials_table.read_text().splitlines()))
    assert {row["trial_id"] for row in trials} == {folder.name for folder in files.trials.iterdir()}
    assert len(trials) == 4


def test_they_run_at_once(both: dict[str, Any]) -> None:
    begun, ended = {}, {}
    for dataset in ("demo", "inshop"):
        trials = both["results"].dataset(dataset).trials
        begun[dataset] = min(file.stat().st_mtime for file in trials.glob("*/config.json"))
        ended[dataset] = max(file.stat().st_mtime for file in trials.glob("*/status.json"))
    assert begun["demo"] < ended["inshop"]
    assert begun["inshop"] < ended["demo"]


def test_queries_that_nobody_could_answer_are_counted_where_a_user_looks(both: dict[str, Any]) -> None:
    lines = both["finished"].out.splitlines()
    assert all(f"inshop: {number} left out ({reason})" in lines for reason, number in LEFT_OUT.items())
    data = json.loads(both["results"].study.read_text())["datasets"]["inshop"]["data"]
    assert data["left_out"] == LEFT_OUT


def test_the_final_training_reports_recall_at_every_k(final: dict[str, Any]) -> None:
    assert (final["finished"].code, final["finished"].err) == (0, "")
    assert [f"recall@{k}" for k in RECALL_AT] == METRICS
    metrics = json.loads((final["folder"] / "metrics.json").read_text())
    assert list(metrics["metrics"]) == METRICS
    for values in (metrics["metrics"], *metrics["baselines"].values()):
        recalls = [values[name]["mean"] for name in METRICS]
        assert recalls == sorted(recalls)
        assert all(0 <= recall <= 1 for recall in recalls)
    assert set(metrics["baselines"]) == NAMES["inshop"]
    assert set(metrics["questions"].values()) == {18}, "9 products have a gallery, each is asked for twice"
    assert metrics["left_out"] == LEFT_OUT


def test_the_model_card_says_which_queries_are_not_asked(final: dict[str, Any]) -> None:
    card = " ".join((final["folder"] / "model_card.md").read_text().split())
    for reason, number in LEFT_OUT.items():
        assert f"{number} left out ({reason})" in card
