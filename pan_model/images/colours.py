"""Conversion of images of any kind to upright 8-bit RGB images, as viewers show them."""

from typing import Any

import numpy as np
from PIL import Image

from pan_model.data.fingerprint import TURNS, is_deep, orientation
from pan_model.shapes import UInt8

MAX_16_BITS = 65535
_BITS_PER_SAMPLE = 258
"""The TIFF tag."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB.

    - The EXIF orientation is applied.
    - Grey values of 16 bits are divided by 257, those of 12 bits by 4095 / 255, and floating point from 0 to 1 is
      multiplied by 255, so that equal values have equal brightness in all images.
    - Transparent pixels are composed on white.
    - Of several frames or pages, the first is used.

    Args:
        image: An image as opened; it is decoded here.

    Raises:
        ValueError: The range of its values is unknown, or its colours cannot be converted.
    """
    image.load()
    turn = TURNS.get(orientation(image))
    rgb = _opaque(image) if not is_deep(image) else _deep_to_grey(image).convert("RGB")
    return rgb if turn is None else rgb.transpose(turn)


def _opaque(image: Image.Image) -> Image.Image:
    try:
        if not image.has_transparency_data:
            # PIL warns if a palette with transparency is converted to RGB directly.
            return (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")
        rgba = image.convert("RGBA")
    except ValueError as error:
        raise ValueError(f"mode {image.mode} cannot be converted to RGB; save it as RGB or grey of 8 bits") from error
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _deep_to_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    grey = _scale(image, values)
    if isinstance(transparent := image.info.get("transparency"), int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _scale(image: Image.Image, values: np.ndarray) -> UInt8[np.ndarray, "H W"]:
    """Scale values to 0..255, by a factor that depends on the format of the file only."""
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"mode F, floating point, must have values from 0 to 1, got {low:g} to {high:g}; divide the values of "
                "all images by the same number"
            )
        return np.rint(values * 255).astype(np.uint8)
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # of these PIL gives 16 bits as mode I
        raise ValueError(
            f"mode I, {'16-bit signed' if _bits(image) == 16 else '32-bit'} integers, has no range that stands for "
            "white; scale all images by the same number to 8 bits, or to 16 bits without a sign"
        )
    maximum = 4095 if _bits(image) == 12 else MAX_16_BITS
    return np.rint(values.astype(np.float64) * (255 / maximum)).clip(0, 255).astype(np.uint8)


def _bits(image: Image.Image) -> int | None:
    """Return the number of bits of a grey value in a TIFF file; None for other formats."""
    tags: Any = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(_BITS_PER_SAMPLE, (None,))[0]
