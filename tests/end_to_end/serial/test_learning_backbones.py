"""Studies whose backbone learns, from end to end: trained before the search, and in each trial."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pan_model.images.decoding import load_image
from pan_model.trained import load_backbone, load_model
from study.app.commands import final_command
from study.trials.ledger import Status, read_ledger

SHORT = ("--num-trials=2", "--max-epochs=2", "--encoders", "siamese")
FINETUNED = {"backbone_learning_rate", "backbone_warmup_epochs", "crop_scale_min"}
BACKBONES = {
    "trained_before": ("--backbone-training=proxynca", "--backbone-epochs=2"),
    "trained_in_trials": ("--regime=finetune", "--data-workers=0"),
}


@pytest.fixture(scope="module", params=BACKBONES)
def study(request: pytest.FixtureRequest, run_study: Callable[..., Any]) -> Any:
    return run_study(*SHORT, *BACKBONES[request.param])


@pytest.fixture(scope="module")
def best(study: Any) -> dict[str, Any]:
    assert study.finished.code == 0, study.finished
    return json.loads(study.files.best_config.read_text())


@pytest.fixture(scope="module")
def finished(study: Any, best: dict[str, Any], run_here: Any, data_root: Path) -> Any:
    """The final training, from another cache: what the study leaves must be enough."""
    cache = study.output / "cache"
    words = (study.files.best_config, "--data-root", data_root, "--cache-dir", cache, "--seeds", 1, "--jobs", 1)
    return run_here(*words, command=final_command)


def trained_in_trials(best: dict[str, Any]) -> bool:
    return best["features"]["regime"] == "finetune"


def test_every_trial_ends_well_and_says_how_its_backbone_learned(study: Any, best: dict[str, Any]):
    records = read_ledger(study.files.trials)
    assert {record.status for record in records} <= {Status.COMPLETED, Status.STOPPED}
    for record in records:
        assert (record.config.keys() >= FINETUNED) == trained_in_trials(best)
        assert record.config.keys().isdisjoint(FINETUNED) != trained_in_trials(best)
    if trained_in_trials(best):
        assert "backbone_training" not in best["features"]
    else:
        assert (best["features"]["backbone_training"], best["features"]["backbone_epochs"]) == ("proxynca", 2)


def test_the_backbone_that_was_trained_before_lies_beside_the_results(study: Any, best: dict[str, Any]):
    assert study.files.backbone.exists() != trained_in_trials(best)


def test_the_study_goes_on_without_training_again(study: Any, best: dict[str, Any], run_here: Any, tmp_path: Path):
    copy = study.copied(tmp_path / "copy")
    words = [word if word != "--num-trials=2" else "--num-trials=3" for word in copy.words]
    words[words.index("--cache-dir") + 1] = str(tmp_path / "cache")
    again = run_here(*words, "--resume")
    assert again.code == 0, again
    assert "resuming study" in again.out
    assert "backbone training" not in again.out
    assert len(read_ledger(copy.files.trials)) == 3


def test_other_backbones_are_another_study(study: Any, best: dict[str, Any], run_here: Any):
    words = [word for word in study.words if word not in {"--backbone-epochs=2", *BACKBONES["trained_in_trials"]}]
    words = [word if word != "--backbone-training=proxynca" else "--backbone-training=siamese" for word in words]
    refused = run_here(*words, "--resume")
    assert (refused.code, refused.out) == (2, "")
    assert "is another study" in refused.err
    assert len(refused.err.splitlines()) == 1


def test_the_final_model_comes_with_the_backbone_it_needs(
    study: Any, best: dict[str, Any], finished: Any, data_root: Path, tmp_path: Path
):
    assert finished.code == 0, finished
    folder = study.files.folder / "final"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert 0 <= metrics["metrics"]["few_shot_accuracy"]["mean"] <= 1
    card = (folder / "model_card.md").read_text()
    code = card.partition("```python\n")[2].partition("```")[0].replace('"final"', repr(str(folder)))
    (tmp_path / "images").mkdir()
    for image in sorted((data_root / "demo" / "images").glob("*/*"))[:3]:
        shutil.copy(image, tmp_path / "images")
    code = code.replace('Path("images")', f"Path({str(tmp_path / 'images')!r})")
    names: dict[str, Any] = {}
    exec(compile(code, "model_card.md", "exec"), names)
    assert names["pairs"].score.shape == (2,)
    first = torch.stack([load_image(path, best["features"]["image_size"]) for path in names["paths"]])
    backbone, model = load_backbone(folder), load_model(folder)
    with torch.inference_mode():
        assert torch.equal(model.embed(backbone(first)), model.embed(names["features"]))


def test_a_backbone_that_is_gone_is_told(
    study: Any, best: dict[str, Any], run_here: Any, data_root: Path, tmp_path: Path
):
    if trained_in_trials(best):
        pytest.skip("its backbone is made anew by the final training")
    alone = tmp_path / "best_config.json"
    shutil.copy(study.files.best_config, alone)
    refused = run_here(alone, "--data-root", data_root, command=final_command)
    assert (refused.code, refused.out) == (2, "")
    assert "backbone.safetensors with the trained backbone is not there" in refused.err
