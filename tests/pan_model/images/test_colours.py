"""Images of every kind become what a viewer shows: upright, on white, and equally bright for equal values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from pan_model.errors import UserError
from pan_model.images.decoding import load_image, load_square
from pan_model.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD

RAMP = np.linspace(0, 1, 48 * 32).reshape(32, 48)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    """The central square, 0..255, with one channel."""
    return load_square(path, 28).astype(int)[..., 0]


@pytest.fixture
def grey(tmp_path: Path) -> np.ndarray[Any, Any]:
    """The ramp as an image of 8 bits."""
    Image.fromarray(np.rint(RAMP * 255).astype(np.uint8)).save(tmp_path / "8.png")
    return pixels(tmp_path / "8.png")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a.png", np.rint(RAMP * 65535).astype(np.uint16)),
        ("a.tif", np.rint(RAMP * 65535).astype(np.uint16)),
        ("a.pgm", np.rint(RAMP * 65535).astype(np.uint16)),
        ("a.jp2", np.rint(RAMP * 65535).astype(np.uint16)),
        ("big.tif", np.rint(RAMP * 65535).astype(">u2")),
        ("a.tif", RAMP.astype(np.float32)),
    ],
    ids=["png", "tif", "pgm", "jp2", "big-endian", "float"],
)
def test_deep_grey_equals_grey_of_8_bits(tmp_path: Path, grey: Any, name: str, values: np.ndarray[Any, Any]) -> None:
    Image.fromarray(values).save(tmp_path / name)
    assert abs(pixels(tmp_path / name) - grey).max() <= 1
    assert len(np.unique(grey)) > 100


def test_brightness_does_not_depend_on_the_other_pixels(tmp_path: Path) -> None:
    for name, brightest in (("dark.png", 20000), ("bright.png", 65535)):
        values = np.full((40, 40), 257 * 50, dtype=np.uint16)
        values[0, 0] = brightest
        Image.fromarray(values).save(tmp_path / name)
        assert pixels(tmp_path / name)[16, 16] == 50


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((40, 40), 200, np.int32), r"mode I, 32-bit integers, has no range that stands for white; scale all"),
        (np.full((40, 40), 200, np.float32), r"mode F, floating point, must have values from 0 to 1, got 200 to 200;"),
        (np.full((40, 40), -0.5, np.float32), r"mode F, floating point, must have values from 0 to 1, got -0\.5 to"),
        (np.full((40, 40), np.nan, np.float32), r"mode F, floating point, must have values from 0 to 1, got nan to"),
    ],
    ids=["int32", "float above 1", "negative", "nan"],
)
def test_values_of_unknown_range_are_refused(tmp_path: Path, values: np.ndarray[Any, Any], reason: str) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a\.tif: not a readable image \({reason}"):
        load_image(tmp_path / "a.tif", 32)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "LAB", "RGBA", "LA"])
def test_other_modes_show_what_pil_shows(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).convert(mode)
    image.save(tmp_path / "a.tif")
    image.convert("RGB").save(tmp_path / "b.png")
    np.testing.assert_array_equal(load_square(tmp_path / "a.tif", 28), load_square(tmp_path / "b.png", 28))


class TestTransparency:
    @pytest.mark.parametrize(
        ("image", "options"),
        [
            (Image.new("RGBA", (40, 40), (90, 0, 0, 0)), {}),
            (Image.new("LA", (40, 40), (90, 0)), {}),
            (Image.new("RGB", (40, 40), (90, 0, 0)).quantize(4), {"transparency": 0}),
            (Image.new("RGB", (40, 40), (90, 0, 0)).quantize(4), {"transparency": bytes(4)}),
            (Image.new("L", (40, 40), 7), {"transparency": 7}),
            (Image.new("RGB", (40, 40), (1, 2, 3)), {"transparency": (1, 2, 3)}),
            (Image.new("I;16", (40, 40), 700), {"transparency": 700}),
        ],
        ids=["RGBA", "LA", "P index", "P bytes", "L", "RGB", "I;16"],
    )
    def test_is_white(self, tmp_path: Path, image: Image.Image, options: dict[str, Any]) -> None:
        image.save(tmp_path / "a.png", **options)
        assert (load_square(tmp_path / "a.png", 28) == 255).all()

    @pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
    def test_half_is_half_white(self, tmp_path: Path, suffix: str) -> None:
        options = {"lossless": True} if suffix == ".webp" else {}
        Image.new("RGBA", (40, 40), (0, 100, 255, 128)).save(tmp_path / f"a{suffix}", **options)
        assert load_square(tmp_path / f"a{suffix}", 28)[5, 5].tolist() == [127, 177, 255]


class TestOrientation:
    @staticmethod
    def save(path: Path, orientation: int) -> np.ndarray[Any, Any]:
        """Save an image of 60 x 40 px with an orientation; return what a viewer shows, uint8."""
        corner = np.zeros((40, 60, 3), dtype=np.uint8)
        corner[:20, :30], corner[20:, :30], corner[:20, 30:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"lossless": True}}.get(path.suffix, {})
        Image.fromarray(corner).save(path, exif=exif, **options)
        with Image.open(path) as image:
            image.load()
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_image_is_upright(self, tmp_path: Path, suffix: str, orientation: int) -> None:
        shown = self.save(tmp_path / f"a{suffix}", orientation)
        assert (shown.shape[0] > shown.shape[1]) == (orientation >= 5)
        Image.fromarray(shown).save(tmp_path / "upright.png")
        square, expected = (load_square(tmp_path / name, 28).astype(int) for name in (f"a{suffix}", "upright.png"))
        assert abs(square - expected).max() <= 12  # JPEG
        turned = load_image(tmp_path / f"a{suffix}", 28).numpy() * np.array(IMAGENET_STD)[:, None, None]
        crop = (turned + np.array(IMAGENET_MEAN)[:, None, None]) * 255
        assert abs(crop - expected[2:30, 2:30].transpose(2, 0, 1)).max() <= 12

    @pytest.mark.parametrize("value", [0, 9, 1000])
    def test_unknown_orientation_is_ignored(self, tmp_path: Path, value: int) -> None:
        shown = self.save(tmp_path / "a.png", value)
        Image.fromarray(shown).save(tmp_path / "b.png")
        np.testing.assert_array_equal(load_square(tmp_path / "a.png", 28), load_square(tmp_path / "b.png", 28))

    def test_damaged_exif_does_not_matter(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.full((40, 40, 3), 90, dtype=np.uint8))
        image.save(tmp_path / "a.jpg", exif=b"Exif\x00\x00nonsense")
        assert pixels(tmp_path / "a.jpg")[5, 5] == 90


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_first_of_several_frames_counts(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.new("RGB", (40, 40), colour) for colour in ("blue", "red"))
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=[second])
    assert load_square(tmp_path / f"a{suffix}", 28)[9, 9].tolist() == pytest.approx([0, 0, 255], abs=3)
