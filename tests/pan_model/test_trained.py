"""A saved model takes features; a backbone that was trained with it lies beside it, and both come back."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pan_model.backbones.architectures import Backbone, build_backbone
from pan_model.backbones.weights import load_weights, load_weights_file
from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.errors import UserError
from pan_model.model.conditions import Followed, choose_conditions
from pan_model.model.pan import Pan
from pan_model.trained import load_backbone, load_explainer, load_model, save_model
from pan_model.training.trainer import new_pan

NAME = "squeezenet1_1"
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
Save = Callable[[Backbone | None], Path]


@pytest.fixture(scope="module")
def random_sha256() -> str:
    return load_weights(build_backbone(NAME), "random")


@pytest.fixture
def save(
    build: Callable[[TrialConfig], Pan], configure: Callable[..., TrialConfig], tmp_path: Path, random_sha256: str
) -> Save:
    def to_folder(backbone: Backbone | None) -> Path:
        config = configure()
        features: dict[str, Any] = {"backbone": NAME, "weights": "random", "weights_sha256": random_sha256}
        save_model(build(config), config, features, tmp_path, backbone=backbone)
        return tmp_path

    return to_folder


@pytest.fixture
def trained() -> Backbone:
    backbone = build_backbone(NAME).eval()
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(0.01)
    return backbone.to(memory_format=torch.channels_last)


def test_a_trained_backbone_comes_back_with_its_weights(save: Save, trained: Backbone):
    folder = save(trained)
    back = load_backbone(folder)
    assert not back.training
    with torch.inference_mode():
        torch.testing.assert_close(back(IMAGES), trained(IMAGES), rtol=1e-4, atol=1e-6)
    features = json.loads((folder / "config.json").read_text())["features"]
    assert features["trained_backbone"] == "backbone.safetensors"
    assert features["weights"] == "random"
    load_model(folder)


def test_its_file_is_one_that_weights_can_be_given_as(save: Save, trained: Backbone):
    other = build_backbone(NAME)
    load_weights_file(other, save(trained) / "backbone.safetensors")
    for name, value in trained.network.state_dict().items():
        assert torch.equal(other.network.state_dict()[name], value)


def test_a_frozen_model_s_backbone_is_the_one_of_its_features(save: Save):
    folder = save(None)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    with torch.inference_mode():
        assert torch.equal(load_backbone(folder)(IMAGES), build_backbone(NAME).eval()(IMAGES))


def test_other_weights_than_the_study_s_are_refused(save: Save):
    folder = save(None)
    content = json.loads((folder / "config.json").read_text())
    content["features"]["weights_sha256"] = "0" * 64
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"config.json: features.weights_sha256 is 0000.*, but the weights random have"):
        load_backbone(folder)


def test_a_folder_without_them_is_refused(save: Save, trained: Backbone, tmp_path: Path):
    with pytest.raises(UserError, match=r"must hold config.json and model.safetensors of a trained model"):
        load_backbone(tmp_path)
    folder = save(trained)
    (folder / "backbone.safetensors").unlink()
    with pytest.raises(UserError, match=r"backbone.safetensors: no such file"):
        load_backbone(folder)


def test_what_conditions_follow_comes_back(save: Save):
    folder = save(None)
    assert load_model(folder).followed is None  # as of releases that did not measure it
    content = json.loads((folder / "config.json").read_text())
    assert "followed" not in content
    followed = {"unsupervised_1": Followed(attribute="XNOR(a0)", strength=0.75)}
    model = load_model(folder)
    model.followed = followed
    save_model(model, TrialConfig.from_flat(content["config"]), content["features"], folder)
    assert load_model(folder).followed == followed


def test_an_explainer_explains_two_image_files(
    configure: Callable[..., TrialConfig], featured: FeaturedItems, tmp_path: Path, random_sha256: str
):
    config = configure()
    conditions = choose_conditions(config.conditions, featured.attributes, featured.certain, featured.attribute_names)
    model = new_pan(config, conditions, feature_dim=512, num_classes=2)
    features: dict[str, Any] = {"backbone": NAME, "weights": "random", "weights_sha256": random_sha256}
    save_model(model, config, features | {"image_size": 64}, tmp_path)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, colour in zip(paths, ("red", "blue"), strict=True):
        Image.new("RGB", (80, 70), colour).save(path)
    explainer = load_explainer(tmp_path)
    explained = explainer.explain(*paths)
    backbone = load_backbone(tmp_path)
    with torch.inference_mode():
        one, other = (backbone(backbone.preprocess(path)[None]) for path in paths)
        assert explained.score == pytest.approx(load_model(tmp_path)(one, other).score.item(), abs=1e-5)
    assert len(explained.conditions) == 6
    paths[1].write_bytes(b"none")
    with pytest.raises(UserError, match=r"b\.png: not a readable image"):
        explainer.explain(*paths)


def test_moved_weights_can_be_given(save: Save, trained: Backbone, tmp_path: Path):
    folder = save(None)
    weights = tmp_path / "elsewhere.pth"
    torch.save(trained.network.state_dict(), weights)
    content = json.loads((folder / "config.json").read_text())
    content["features"] |= {
        "weights": str(tmp_path / "gone.pth"),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"features.weights is .*gone.pth, which is not there; .* by --weights"):
        load_backbone(folder)
    load_backbone(folder, weights=weights)
    with pytest.raises(UserError, match="but the weights random have"):
        load_backbone(folder, weights="random")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "pan-study/model/2"}, "schema must be pan-study/model/1, got pan-study/model/2"),
        ({"config": {"encoder": "new"}}, r"must describe a model of this release \(encoder must be one of"),
        ({"condition_names": None}, "must describe a model of this release"),
        ({"features": {}}, r"must describe a model of this release \(no entry 'backbone'\)"),
    ],
)
def test_a_model_of_another_version_is_refused(save: Save, change: dict[str, Any], message: str):
    folder = save(None)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | change))
    with pytest.raises(UserError, match=message):
        load_explainer(folder)
