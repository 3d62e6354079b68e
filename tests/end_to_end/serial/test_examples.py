"""What the best trial of a study sees: examples.json and the pictures in TensorBoard."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pan_model.backbones.config import FeaturesConfig
from pan_model.errors import UserError
from study.app.make_examples import make_examples_again, make_study_examples
from study.page.files import ExamplesFile
from study.reporting.collation import collate
from study.storage.paths import StudyPaths
from study.terminal import Terminal
from study.trials.ledger import read_ledger
from study.trials.preparation import Preparation, PreparedDataset, prepare_dataset
from study.trials.tensorboard_events import events_folder


def read(files: Any) -> dict[str, Any]:
    return json.loads(files.examples.read_text(encoding="utf-8"))


def size_of(file: BytesIO | Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


@pytest.fixture
def study(done: Any, tmp_path: Path) -> Any:
    return done.copied(tmp_path / "results")


def test_a_study_leaves_explained_pairs_of_its_best_trial(done: Any, data_root: Path):
    content = read(done.files)
    best = json.loads(done.files.best_config.read_text(encoding="utf-8"))
    record = next(record for record in read_ledger(done.files.trials) if record.trial_id == best["trial_id"])
    assert content["trial_id"] == best["trial_id"]
    assert content["epoch"] == record.history[-1]["epoch"]
    assert content["best_epoch"] == best["metric"]["epoch"]
    assert any("the weights are those after the last epoch" in note for note in content["notes"]) == (
        content["epoch"] != content["best_epoch"]
    )
    assert content["left_out"] == {}
    assert done.files.examples.stat().st_size < 500_000
    ExamplesFile.model_validate_json(done.files.examples.read_bytes())
    assert {pair["group"] for pair in content["pairs"]} >= {"right", "hardest"}
    assert content["questions"] == []
    assert len(content["conditions"]) == best["config"]["num_conditions"]
    for pair in content["pairs"]:
        first, second = (image["class"] for image in pair["images"])
        assert pair["same_class"] == (first == second)
        parts = [*(part["contribution"] for part in pair["conditions"]), pair["rest"]["contribution"]]
        assert sum(parts) == pytest.approx(pair["score"], abs=1e-9)
        assert len(pair["conditions"]) + pair["rest"]["count"] == best["config"]["num_conditions"]
        for image in pair["images"]:
            assert image["class"] in image["file"]
            size = size_of(BytesIO(base64.b64decode(image["jpeg"])))
            assert size == size_of(data_root / "demo" / "images" / image["file"])  # which is below 160 px
    shown = [frozenset(image["file"] for image in pair["images"]) for pair in content["pairs"]]
    assert len(shown) == len(set(shown))
    pictures = [file for file in events_folder(done.files, record).iterdir() if file.name.endswith(".pairs")]
    assert len(pictures) == 1


def test_they_are_made_again_from_the_data_alike(
    study: Any, data_root: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
):
    before = read(study.files)
    study.files.examples.unlink()
    make_examples_again(study.results, data_root, cache_dir, Terminal())
    assert read(study.files) == before
    made = f"of trial {before['trial_id']} after epoch {before['epoch']}: {study.files.examples}"
    assert made in capsys.readouterr().out
    pictures = list(study.results.tensorboard.rglob("*.pairs"))
    assert len(pictures) == 1


@pytest.fixture
def prepared(data_root: Path, cache_dir: Path) -> PreparedDataset:
    features = FeaturesConfig(backbone="resnet18", weights="random", image_size=32)
    return prepare_dataset(Preparation(dataset="demo", data_root=data_root, cache_dir=cache_dir, features=features))


def test_a_study_that_lost_its_checkpoints_is_whole_without_examples(
    study: Any, prepared: PreparedDataset, capsys: pytest.CaptureFixture[str]
):
    for checkpoint in study.files.trials.glob("*/checkpoint/state.pt"):
        checkpoint.unlink()
    collated = collate(study.results, over=True)
    make_study_examples(study.results, [prepared], collated, Terminal())  # they are those of the winner
    assert capsys.readouterr().out == ""
    study.files.examples.write_text("damaged")
    make_study_examples(study.results, [prepared], collated, Terminal())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"demo: {study.files.examples} was not made (")
    assert line.endswith(
        "state.pt: no such file; the trial's weights are not there any more); the study is whole, and study/report.py "
        f"{study.results.root} --data-root DIR tries again"
    )


def test_images_that_cannot_be_read_are_left_out_and_counted(
    study: Any, prepared: PreparedDataset, new_data: Callable[[], Path], capsys: pytest.CaptureFixture[str]
):
    before = read(study.files)
    lost = next(pair for pair in before["pairs"] if pair["group"] == "hardest")["images"][0]["file"]
    images = new_data() / "demo" / "images"
    (images / lost).write_bytes(b"no image")
    assert prepared.images is not None
    moved = replace(prepared, images=replace(prepared.images, root=images))
    study.files.examples.unlink()
    make_study_examples(study.results, [moved], collate(study.results, over=True), Terminal())
    assert "left out (image cannot be read): " in capsys.readouterr().out
    after = read(study.files)
    assert after["left_out"]["image cannot be read"] >= 1
    assert len(after["pairs"]) == len(before["pairs"])
    assert lost not in {image["file"] for pair in after["pairs"] for image in pair["images"]}


def test_other_data_than_the_study_s_are_refused(study: Any, new_data: Callable[[], Path], cache_dir: Path):
    data = new_data()
    file = next((data / "demo" / "images").rglob("*.png"))
    with Image.open(file) as image:
        turned = image.rotate(90)
    turned.save(file)
    with pytest.raises(UserError, match=r"best_config\.json: data\.fingerprint is "):
        make_examples_again(study.results, data, cache_dir, Terminal())
    with pytest.raises(UserError, match="no such folder; --data-root must be that of the study"):
        make_examples_again(study.results, data / "elsewhere", cache_dir, Terminal())
    assert not (data / "elsewhere").exists()


def test_without_a_completed_trial_there_is_a_line(study: Any, data_root: Path, cache_dir: Path):
    study.files.best_config.unlink()
    with pytest.raises(UserError, match="no trial has completed yet, so there are no examples"):
        make_examples_again(study.results, data_root, cache_dir, Terminal())
    with pytest.raises(UserError, match=r"study\.json"):
        make_examples_again(StudyPaths(study.output / "none"), data_root, cache_dir, Terminal())
