"""Models of timm: their names, preprocessing, pooling and weights."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from pan_model.backbones import timm_models
from pan_model.backbones.architectures import build_backbone, check_image_size, measure_feature_dim
from pan_model.backbones.config import FeaturesConfig, Pooling, check_backbone_name, own_preprocessing
from pan_model.backbones.weights import load_weights
from pan_model.errors import UserError
from pan_model.images.decoding import load_image, load_square
from pan_model.images.preprocessing import CropMode, Interpolation, Preprocessing

ROOT = Path(__file__).parents[3]
CENTRED = "timm:test_vit2"  # 160 px of 168, mean and standard deviation 0.5
NAMES = ("timm:resnet10t", "timm:vit_tiny_patch16_224", "timm:convnext_atto", CENTRED)


@pytest.fixture
def image_path(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((500, 300), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("name", [*NAMES, "timm:resnet50.a1_in1k", "timm:vit_base_patch16_siglip_256.webli"])
def test_preprocessing_is_timm_s_own(image_path: Path, name: str):
    preprocessing = own_preprocessing(name, None)
    values = resolve_data_config(pretrained_cfg=timm.models.get_pretrained_cfg(name.removeprefix("timm:")).to_dict())
    expected = create_transform(**values)(Image.open(image_path))
    image = preprocessing(image_path)
    assert image.shape == expected.shape == (3, preprocessing.image_size, preprocessing.image_size)
    assert (image - expected).abs().mean() < 0.02
    assert (preprocessing.mean, preprocessing.std) == (values["mean"], values["std"])
    assert preprocessing.interpolation == values["interpolation"]


@pytest.mark.parametrize("mode", CropMode)
def test_squares_of_every_crop_mode_hold_what_load_image_reads(image_path: Path, mode: CropMode):
    preprocessing = Preprocessing(
        image_size=40,
        resize_size=48,
        interpolation=Interpolation.BICUBIC,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        crop_mode=mode,
    )
    square = load_square(image_path, preprocessing)
    start = preprocessing.border
    assert square.shape == (48, 48, 3)
    crop = square[start : start + 40, start : start + 40].transpose(2, 0, 1) / 255
    np.testing.assert_allclose(load_image(image_path, preprocessing).numpy(), crop, atol=1.5 / 255)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_timm_without_classifier(name: str):
    backbone = build_backbone(name).eval()
    size = own_preprocessing(name, None).image_size
    sha256 = load_weights(backbone, "random")
    assert measure_feature_dim(backbone, size) == backbone.network.num_features
    assert load_weights(build_backbone(name), "random") == sha256
    assert backbone.preprocess.image_size == size
    kept = backbone.network.state_dict()
    model = timm.create_model(name.removeprefix("timm:"), num_classes=0).eval()
    model.load_state_dict(kept)
    images = torch.ones(1, 3, size, size)
    assert torch.equal(backbone(images), model(images))


def test_pooling_max_is_the_maximum_or_refused():
    average, maximum = (build_backbone("timm:resnet10t", pooling).eval() for pooling in Pooling)
    images = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    assert torch.allclose(maximum(images), average.network.forward_features(images).amax(dim=(2, 3)))
    assert list(maximum.network.state_dict()) == list(average.network.state_dict())
    with pytest.raises(UserError, match=r"pooling max: backbone timm:deit_tiny_distilled_patch16_224 has no map"):
        build_backbone("timm:deit_tiny_distilled_patch16_224", Pooling.MAX)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet51", r"unknown backbone 'timm:resnet51'; choose a model of timm such as timm:resnet\d"),
        ("timm:resnet50.a1_in2k", r"unknown tag 'a1_in2k' of backbone timm:resnet50; choose .*timm:resnet50\.a1_in1k"),
        ("timm:", r"unknown backbone 'timm:'"),
        ("timm:hf-hub:timm/resnet50", r"must name a model of the installed timm, got an address; .*--weights FILE"),
    ],
)
def test_unknown_names(name: str, message: str):
    with pytest.raises(UserError, match=rf"^[^\n]*{message}[^\n]*\.$"):
        check_backbone_name(name)


def test_image_size_is_the_model_s_own_or_the_given_one():
    assert own_preprocessing("timm:resnet10t", None).image_size == 176
    assert own_preprocessing("timm:resnet10t", 96) == Preprocessing(
        image_size=96, resize_size=109, interpolation=Interpolation.BICUBIC
    )
    with pytest.raises(UserError, match=r"timm:vit_tiny_patch16_224 takes images of 224 px only, got image_size 96"):
        own_preprocessing("timm:vit_tiny_patch16_224", 96)
    with pytest.raises(UserError, match=r"backbone vit_b_16 takes images of 224 px only, got image_size 64"):
        FeaturesConfig(backbone="vit_b_16", image_size=64)
    check_image_size("timm:resnet10t", Pooling.AVG, 64)
    with pytest.raises(UserError, match=r"backbone timm:vit_tiny_patch16_224 cannot take images of 96 px"):
        check_image_size("timm:vit_tiny_patch16_224", Pooling.AVG, 96)


def test_weights_of_a_file(tmp_path: Path):
    model = timm.create_model("test_resnet")
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, tmp_path / "w.pth"
    )
    backbone = build_backbone("timm:test_resnet")
    load_weights(backbone, str(tmp_path / "w.pth"))
    assert backbone.weights_part == "state_dict, prefix module. removed"
    assert torch.equal(backbone.network.state_dict()["conv1.0.weight"], model.state_dict()["conv1.0.weight"])


def test_pretrained_weights_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError,
        match=r"^weights imagenet of backbone timm:resnet10t cannot be downloaded \([^\n]*\); download https://"
        r"huggingface\.co/timm/resnet10t\.c3_in1k/resolve/main/model\.safetensors elsewhere and give the file with "
        r"--weights FILE\.$",
    ):
        load_weights(build_backbone("timm:resnet10t"), "imagenet")


def test_without_timm_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else find(name))
    with pytest.raises(UserError, match=r"^backbones timm:NAME need the package timm, .*; run: make setup$"):
        check_backbone_name("timm:resnet18")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert timm_models.install_command() == "pip install timm"


def test_make_setup_installs_timm_where_it_is_missing():
    makefile = (ROOT / "Makefile").read_text()
    folder = re.search(r"^OPTIONAL := ls -d (\S+)$", makefile, re.MULTILINE)
    assert folder is not None
    assert [path.name for path in ROOT.glob(folder[1])] == ["timm"]
    assert "\ntimm==" in (ROOT / "requirements.lock").read_text()
