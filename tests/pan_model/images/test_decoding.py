"""Images become what torchvision's own evaluation transform makes of them; damaged ones are refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import ResNet18_Weights
from torchvision.transforms import functional as transforms

from pan_model.errors import UserError
from pan_model.images.decoding import load_image
from pan_model.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD

LEVEL = 1 / 255 / 0.224  # one step of a colour after normalisation


def draw_image(width: int, height: int) -> Image.Image:
    """A gradient with noise, so that every offset of the crop shows."""
    ramp = np.add.outer(np.arange(height) / 2, np.arange(width) / 3)[..., None]
    noise = np.random.default_rng(0).integers(0, 100, (height, width, 3))
    return Image.fromarray(((ramp + noise) % 256).astype(np.uint8))


def assert_same_image(image: Tensor, expected: Tensor) -> None:
    """Equal but for rounding to 256 levels between the two passes of a resize; an offset of a pixel differs by 30."""
    difference = (image - expected).abs() / LEVEL
    assert difference.max() < 2.1
    assert difference.mean() < 0.3


@pytest.mark.parametrize(("width", "height"), [(227, 227), (500, 300), (333, 501), (60, 40), (224, 224)])
def test_equals_the_published_transform_at_224(tmp_path: Path, width: int, height: int) -> None:
    draw_image(width, height).save(tmp_path / "a.png")
    expected = ResNet18_Weights.IMAGENET1K_V1.transforms()(Image.open(tmp_path / "a.png"))
    image = load_image(tmp_path / "a.png", 224)
    assert image.dtype == torch.float32
    assert_same_image(image, expected)


@pytest.mark.parametrize("image_size", [1, 32, 97])
def test_equals_resize_then_centre_crop_at_other_sizes(tmp_path: Path, image_size: int) -> None:
    source = draw_image(120, 90)
    source.save(tmp_path / "a.png")
    resized = transforms.resize(source, [round(image_size * 256 / 224)])
    square = transforms.to_tensor(transforms.center_crop(resized, [image_size]))
    expected = transforms.normalize(square, list(IMAGENET_MEAN), list(IMAGENET_STD))
    image = load_image(tmp_path / "a.png", image_size)
    assert image.shape == (3, image_size, image_size)
    assert_same_image(image, expected)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    (Image.new("I;16", (50, 40), 200) if mode == "I;16" else draw_image(50, 40).convert(mode)).save(path)
    image = load_image(path, 32)
    assert image.shape == (3, 32, 32)
    assert image.isfinite().all()


def test_grey_has_three_equal_channels(tmp_path: Path) -> None:
    Image.new("L", (40, 40), 128).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", 32)
    expected = (128 / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(image.numpy(), np.broadcast_to(expected[:, None, None], (3, 32, 32)), rtol=1e-5)


def test_palette_with_transparency_needs_no_warning(tmp_path: Path) -> None:
    draw_image(40, 40).convert("P").save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert load_image(tmp_path / "a.png", 32).shape == (3, 32, 32)


def test_long_narrow_image_needs_little_memory(tmp_path: Path) -> None:
    Image.new("RGB", (60000, 1), (255, 0, 0)).save(tmp_path / "a.png")  # resized as a whole: 12 GB
    assert load_image(tmp_path / "a.png", 224).shape == (3, 224, 224)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_truncated_image_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    draw_image(200, 200).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: not a readable image \(.+\)\.$"):
        load_image(path, 32)


def test_other_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"text\.jpg: not a readable image \(unknown format or damaged header\)"):
        load_image(tmp_path / "text.jpg", 32)
    with pytest.raises(UserError, match=r"missing\.jpg: not a readable image \(No such file or directory\)"):
        load_image(tmp_path / "missing.jpg", 32)
    with pytest.raises(UserError, match=r"not a readable image \(Is a directory\)"):
        load_image(tmp_path, 32)


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_image(100, 100).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match=r"a\.png: not a readable image \(Image size \(10000 pixels\) exceeds"):
        load_image(tmp_path / "a.png", 32)
