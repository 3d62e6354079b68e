"""Decoding of images to the tensors that a backbone takes, and reports of images that cannot be read."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pan_model.command_line import counted
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.colours import to_rgb
from pan_model.images.opening import unreadable_reason
from pan_model.images.preprocessing import CropMode, Interpolation, Preprocessing, as_preprocessing
from pan_model.shapes import Float, UInt8

USUAL = Preprocessing()
RESAMPLING = {
    Interpolation.NEAREST: Image.Resampling.NEAREST,
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
}

Content = bytes | OSError | None
"""The bytes of an image file, or the error of reading them. None if the file has not been read yet."""


def load_image(path: Path, image_size: int | Preprocessing, content: Content = None) -> Float[Tensor, "3 H W"]:
    """Read an image and apply the evaluation transform of ImageNet, or that of a `Preprocessing`.

    The shorter side is resized (bilinear, antialiased) to image_size * 256 / 224 px. The central square of image_size
    px is cropped. RGB values in 0..1 are normalised by the mean and standard deviation of ImageNet. `to_rgb` in
    colours.py says how images of other kinds become RGB, and turns those with an EXIF orientation.

    Args:
        path: The file.
        image_size: Height and width of the result, px; or the transform, such as
            `pan_model.trained.load_preprocessing` returns.
        content: The content of the file. If it is given, the file is not opened.

    Raises:
        UserError: The file is missing, not an image, damaged or truncated, or the range of its values is unknown.
    """
    preprocessing = as_preprocessing(image_size)
    pixels = _read_centre(path, preprocessing, preprocessing.image_size, content)
    return normalise(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None], preprocessing)[0]


def load_square(path: Path, image_size: int | Preprocessing) -> UInt8[np.ndarray, "H W 3"]:
    """Read the central square of `Preprocessing.resize_size` px of an image, uint8.

    The crop of `load_image` begins `Preprocessing.border` px from its left and top edge. Raises UserError like
    `load_image`.
    """
    preprocessing = as_preprocessing(image_size)
    return _read_centre(path, preprocessing, preprocessing.resize_size)


def normalise(pixels: UInt8[Tensor, "N 3 H W"], preprocessing: Preprocessing = USUAL) -> Float[Tensor, "N 3 H W"]:
    """Scale values from 0..255 to 0..1, then normalise them by a mean and standard deviation, by default ImageNet's."""
    channels = (preprocessing.mean, preprocessing.std)
    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None].to(pixels.device) for values in channels)
    return pixels.float().div_(255).sub_(mean).div_(std)


def _read_centre(
    path: Path, preprocessing: Preprocessing, side: int, content: Content = None
) -> UInt8[np.ndarray, "H W 3"]:
    try:
        if isinstance(content, OSError):
            raise content
        with Image.open(path if content is None else BytesIO(content)) as image:
            return np.array(_resized_centre(to_rgb(image), preprocessing, side), dtype=np.uint8)
    except Exception as error:  # PIL's decoders raise errors of many types on damaged files
        raise UserError(f"{path}: not a readable image ({unreadable_reason(error)}).") from error


def _resized_centre(image: Image.Image, preprocessing: Preprocessing, side: int) -> Image.Image:
    """Resize and crop the central `side` px in one step, so that long narrow images need little memory.

    The central image_size px do not depend on `side`.
    """
    if preprocessing.crop_mode is CropMode.BORDER:
        return _bordered_centre(image, preprocessing, side)
    width, height = image.size
    resized = _resized_size(image, preprocessing)
    size = preprocessing.image_size
    left, top = (round((length - size) / 2) - round((side - size) / 2) for length in resized)
    scale = (width / resized[0], height / resized[1])
    right = min((left + side) * scale[0], width)  # rounding may exceed the image
    bottom = min((top + side) * scale[1], height)
    resampling = RESAMPLING[preprocessing.interpolation]
    return image.resize((side, side), resampling, box=(left * scale[0], top * scale[1], right, bottom))


def _resized_size(image: Image.Image, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return width and height of the resized image, px, before the crop."""
    width, height = image.size
    length = preprocessing.resize_size
    if preprocessing.crop_mode is CropMode.SQUASH:
        return length, length
    reference = max(image.size) if preprocessing.crop_mode is CropMode.BORDER else min(image.size)
    return max(1, length * width // reference), max(1, length * height // reference)


def _bordered_centre(image: Image.Image, preprocessing: Preprocessing, side: int) -> Image.Image:
    """Resize the longer side, put the image into the middle of a square of the mean colour, crop `side` px."""
    length = preprocessing.resize_size
    red, green, blue = (round(255 * value) for value in preprocessing.mean)
    square = Image.new("RGB", (length, length), (red, green, blue))
    resized = image.resize(_resized_size(image, preprocessing), RESAMPLING[preprocessing.interpolation])
    square.paste(resized, ((length - resized.width) // 2, (length - resized.height) // 2))
    start = preprocessing.border if side == preprocessing.image_size else 0
    return square.crop((start, start, start + side, start + side))


def reason_without_path(error: UserError, path: Path) -> str:
    """Return the message of an error without the path of the image, which changes when the dataset is moved.

    >>> reason_without_path(UserError("data/a.jpg: not a readable image (truncated)."), Path("data/a.jpg"))
    'not a readable image (truncated).'
    """
    return str(error).removeprefix(f"{path}: ")


def check_readable(items: Items, unreadable: dict[str, str], *, skip_bad_images: bool) -> None:
    """Raise UserError if images are unreadable and may not be skipped, or if all of them are unreadable.

    Args:
        items: All items.
        unreadable: The reasons of unreadable images, by image name.
        skip_bad_images: Whether unreadable images may be left out.
    """
    if not unreadable:
        return
    if len(unreadable) == len(items):
        raise UserError(
            f"{items.image_root}: none of the {counted(len(items), 'image')} can be read, {_first(items, unreadable)}"
        )
    if not skip_bad_images:
        raise UserError(
            f"{items.image_root}: {len(unreadable)} of {counted(len(items), 'image')} cannot be read, "
            f"{_first(items, unreadable)} Repair them, or leave them out with --skip-bad-images."
        )


def _first(items: Items, unreadable: dict[str, str]) -> str:
    name, reason = next(iter(unreadable.items()))
    return f"the first is {items.image_root / name}: {reason}"
