"""Images on disk to the tensors that a backbone sees, and images that cannot be read."""

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.shapes import Float, UInt8

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)  # of R, G, B in 0..1
IMAGENET_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
RESIZE_RATIO = 256 / 224
"""Shorter side before the centre crop over the crop's side: the usual evaluation transform on ImageNet."""


Content = bytes | OSError | None
"""An encoded image that was read already, or what stood in the way; None where it is still to be read."""


def load_image(path: Path, image_size: int, content: Content = None) -> Float[Tensor, "3 H W"]:
    """Read an image as a backbone sees it in evaluation.

    The shorter side is resized (bilinear, antialiased) to image_size * 256 / 224 px, the central square of image_size
    px is cut out, and RGB values in 0..1 are normalised by ImageNet's mean and standard deviation. Grey and palette
    images become RGB. Where the content of the file is given, it is not opened. Raises UserError naming the file when
    it is missing, no image, damaged or truncated.
    """
    pixels = _read_centre(path, image_size, image_size, content)
    return normalise(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])[0]


def load_square(path: Path, image_size: int) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image's central square of `square_side(image_size)` px: what `load_image` reads, and a border around it.

    What lies `border(image_size)` px from the left and the top is what `load_image` cuts out. Raises UserError as that.
    """
    return _read_centre(path, image_size, square_side(image_size))


def square_side(image_size: int) -> int:
    """The shorter side, in px, to which an image is resized before image_size px are cut out of it.

    >>> square_side(224), square_side(64)
    (256, 73)
    """
    return round(image_size * RESIZE_RATIO)


def border(image_size: int) -> int:
    """How far from the edge of the resized image, in px, the central square of image_size px begins.

    >>> border(224), border(64)
    (16, 4)
    """
    return round((square_side(image_size) - image_size) / 2)


def normalise(pixels: UInt8[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 H W"]:
    """Colours 0..255 to 0..1, less ImageNet's mean, over its standard deviation."""
    mean, std = (torch.from_numpy(values)[:, None, None].to(pixels.device) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return pixels.float().div_(255).sub_(mean).div_(std)


def _read_centre(path: Path, image_size: int, side: int, content: Content = None) -> UInt8[np.ndarray, "H W 3"]:
    try:
        if isinstance(content, OSError):
            raise content
        with Image.open(path if content is None else BytesIO(content)) as image:
            return np.array(_resized_centre(_to_rgb(image), image_size, side), dtype=np.uint8)
    except Exception as error:  # PIL's decoders raise whatever their parsing of damaged bytes runs into
        raise UserError(f"{path}: not a readable image ({_reason(error)}).") from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "unknown format or damaged header"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]


def _to_rgb(image: Image.Image) -> Image.Image:
    # PIL warns when a palette's transparency would be lost on the direct way to RGB.
    return (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")


def _resized_centre(image: Image.Image, image_size: int, side: int) -> Image.Image:
    """Resize and cut out `side` px in one step, so that a long narrow image never fills the memory.

    Whatever the side, the central image_size px are the same.
    """
    width, height = image.size
    short = square_side(image_size)
    resized = (short * width // min(image.size), short * height // min(image.size))
    left, top = (round((length - image_size) / 2) - round((side - image_size) / 2) for length in resized)
    scale = (width / resized[0], height / resized[1])
    right, bottom = min((left + side) * scale[0], width), min((top + side) * scale[1], height)  # rounding may pass them
    return image.resize((side, side), Image.Resampling.BILINEAR, box=(left * scale[0], top * scale[1], right, bottom))


def reason_without_path(error: UserError, path: Path) -> str:
    """What is wrong with the image at `path`, in words that stay true when the dataset is moved.

    >>> reason_without_path(UserError("data/a.jpg: not a readable image (truncated)."), Path("data/a.jpg"))
    'not a readable image (truncated).'
    """
    return str(error).removeprefix(f"{path}: ")


def check_readable(items: Items, unreadable: dict[str, str], *, skip_bad_images: bool) -> None:
    """Raise UserError when all images are unreadable, or any that shall not be skipped; reasons by image name."""
    if not unreadable:
        return
    if len(unreadable) == len(items):
        raise UserError(f"{items.image_root}: none of the {len(items)} images can be read, {_first(items, unreadable)}")
    if not skip_bad_images:
        raise UserError(
            f"{items.image_root}: {len(unreadable)} of {len(items)} images cannot be read, {_first(items, unreadable)} "
            "Mend them, or leave them out with --skip-bad-images."
        )


def _first(items: Items, unreadable: dict[str, str]) -> str:
    name, reason = next(iter(unreadable.items()))
    return f"the first is {items.image_root / name}: {reason}"
