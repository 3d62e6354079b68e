"""study/explain.py with a small trained model, in this process."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.weights import load_weights
from pan_model.config import TrialConfig
from pan_model.model.conditions import Followed
from pan_model.model.pan import Pan
from pan_model.trained import load_explainer, save_model
from study.app.explain_pair import explain_command

NAMES = (
    "XNOR(has_upper_tail_color::an exceptionally long value of a property that nobody would ever want to cut off)",
    "XNOR(has_colour::red)",
    "unsupervised_1",
    "unsupervised_2",
)


@pytest.fixture(scope="module")
def backbone_sha256() -> str:
    return load_weights(build_backbone("squeezenet1_1"), "random")


@pytest.fixture
def final(small_trial: dict[str, Any], backbone_sha256: str, tmp_path: Path) -> Path:
    """A model of four conditions in results/one/demo/final, all of whose relevance lies in the last one."""
    config = TrialConfig.from_flat(small_trial | {"supervision": "hybrid"})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Pan(config.model, feature_dim=512, num_classes=2, condition_names=NAMES)
    with torch.no_grad():
        model.similarity.relevance.weight.zero_()
        model.similarity.relevance.bias.fill_(-9.0)[-1] = 9.0
    model.followed = {
        NAMES[1]: Followed(attribute=NAMES[1], strength=0.4),
        "unsupervised_2": Followed(attribute="same has_colour", strength=0.71),
    }
    folder = tmp_path / "results" / "one" / "demo" / "final"
    folder.mkdir(parents=True)
    features = {"backbone": "squeezenet1_1", "weights": "random", "weights_sha256": backbone_sha256, "image_size": 64}
    save_model(model, config, features, folder)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "a.png", tmp_path / "b.jpg"]
    for path, size in zip(paths, ((90, 70), (60, 120)), strict=True):
        pixels = np.random.default_rng(len(path.name)).integers(0, 255, (*size, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return [str(path) for path in paths]


def test_the_table_the_file_and_the_picture_say_the_same(
    final: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "why"
    assert explain_command([str(final), *images, "--output", str(output)]) == 0
    explained = load_explainer(final).explain(*images)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"score p = {explained.score:.3f}, ")
    assert lines[2].endswith("unsupervised_2 (follows same has_colour, 0.71)")
    assert lines[2].startswith(f"{explained.score:.3f}    ############ ")
    assert any(line.endswith("agree on has_colour::red") for line in lines)
    assert "note: the labelled conditions (2) contribute 0.00% of the score: the attributes hardly explain it" in lines
    assert lines[-3:] == ["made:", f"  {output}/explanation.json", f"  {output}/explanation.png"]
    content = json.loads((output / "explanation.json").read_text(encoding="utf-8"))
    assert content["score"] == explained.score
    assert content["images"] == images
    assert [entry["name"] for entry in content["conditions"]] == [part.name for part in explained.conditions]
    assert sum(entry["contribution"] for entry in content["conditions"]) == pytest.approx(content["score"], abs=1e-12)
    assert content["conditions"][0]["follows"] == {"attribute": "same has_colour", "strength": 0.71}
    assert [reading["text"] for reading in content["readings"]] == ["agree on has_colour::red"]
    with Image.open(output / "explanation.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 800
    assert explain_command([str(final), *images, "--output", str(output)]) == 0  # over its own files


def test_wrong_inputs_are_one_line_and_write_nothing(
    final: Path, images: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "why"
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    results = final.parents[2]
    for words, message in (
        ([str(results / "one"), *images], f"{results / 'one'}: holds no model itself; give {final}."),
        ([str(tmp_path / "none"), *images], "none: no such folder; study/final.py trains one"),
        ([str(tmp_path), *images], "must hold config.json and model.safetensors of a trained model"),
        (["s3://bucket/final", *images], "'s3://bucket/final' is in an object store; copy the folder"),
        ([str(final), images[0], "none.png"], "none.png: no such image file."),
        ([str(final), images[0], str(tmp_path)], "is a folder; give an image file."),
        ([str(final), images[0], str(bad)], "bad.png: not a readable image (unknown format or damaged header)."),
        ([str(final), images[0]], "the following arguments are required: IMAGE"),
        ([str(final), *images, "--weights", "gone.pth"], "weights gone.pth: no such file"),
    ):
        assert explain_command([*words, "--output", str(output)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not output.exists()


def test_a_model_of_another_version_is_one_line(final: Path, images: list[str], capsys: pytest.CaptureFixture[str]):
    content = json.loads((final / "config.json").read_text(encoding="utf-8"))
    (final / "config.json").write_text(json.dumps(content | {"schema": "pan-study/model/2"}), encoding="utf-8")
    assert explain_command([str(final), *images]) == 2
    assert "schema must be pan-study/model/1, got pan-study/model/2" in capsys.readouterr().err


def test_a_fine_tuned_model_takes_its_own_backbone(final: Path, images: list[str], tmp_path: Path):
    before = load_explainer(final).explain(*images).score
    backbone = build_backbone("squeezenet1_1").eval()
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.mul_(1.5)
    explainer = load_explainer(final)
    content = json.loads((final / "config.json").read_text(encoding="utf-8"))
    config = TrialConfig.from_flat(content["config"])
    save_model(explainer.model, config, content["features"], final, backbone=backbone)
    assert explain_command([str(final), *images, "--output", str(tmp_path / "why")]) == 0
    content = json.loads((tmp_path / "why" / "explanation.json").read_text(encoding="utf-8"))
    assert content["score"] != before
