"""Pictures on disk to the tensors that a backbone sees."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from pan_model.errors import BadInput
from pan_model.shapes import Float

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)  # of R, G, B in 0..1
IMAGENET_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
RESIZE_RATIO = 256 / 224
"""Shorter side before the centre crop over the crop's side: the usual evaluation transform on ImageNet."""


def load_image(path: Path, image_size: int) -> Float[Tensor, "3 H W"]:
    """Read a picture as a backbone sees it in evaluation.

    The shorter side is resized (bilinear, antialiased) to image_size * 256 / 224 px, the central square of image_size
    px is cut out, and RGB values in 0..1 are normalised by ImageNet's mean and standard deviation. Grey and palette
    pictures become RGB. Raises BadInput naming the file when it is missing, no picture, damaged or truncated.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(_resized_centre(_to_rgb(image), image_size), dtype=np.float32)
    except Exception as error:  # PIL's decoders raise whatever their parsing of damaged bytes runs into
        raise BadInput(f"{path}: not a readable picture ({_reason(error)}).") from error
    normalised = (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD
    return torch.from_numpy(normalised.transpose(2, 0, 1).copy())


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "unknown format or damaged header"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]


def _to_rgb(image: Image.Image) -> Image.Image:
    # PIL warns when a palette's transparency would be lost on the direct way to RGB.
    return (image.convert("RGBA") if "transparency" in image.info else image).convert("RGB")


def _resized_centre(image: Image.Image, image_size: int) -> Image.Image:
    """Resize and cut out the centre in one step, so that a long narrow picture never fills the memory."""
    width, height = image.size
    short = round(image_size * RESIZE_RATIO)
    resized = (short * width // min(image.size), short * height // min(image.size))
    left, top = (round((side - image_size) / 2) for side in resized)
    scale = (width / resized[0], height / resized[1])
    box = (left * scale[0], top * scale[1], (left + image_size) * scale[0], (top + image_size) * scale[1])
    return image.resize((image_size, image_size), Image.Resampling.BILINEAR, box=box)
