"""Preprocessing: how an image becomes the tensor that a backbone takes. Imports no torch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pan_model.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Channels = tuple[float, float, float]
"""Values of the red, green and blue channel."""

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)  # of values in 0..1
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


class Interpolation(StrEnum):
    """How an image is resized. All are antialiased, except nearest."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class CropMode(StrEnum):
    """How an image is fitted into a square, with timm's names.

    center: the shorter side is resized to `resize_size`. squash: both sides are, which changes the aspect ratio.
    border: the longer side is, and the rest is filled with the mean. The central square is then cropped.
    """

    CENTER = "center"
    SQUASH = "squash"
    BORDER = "border"


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The evaluation transform of a backbone: resize, crop the central square, scale to 0..1, normalise.

    The default is the usual transform of ImageNet at 224 px.

    Attributes:
        image_size: Side of the square crop, px.
        resize_size: Length of the resized side (see `CropMode`), px; at least image_size.
        interpolation: How the image is resized.
        mean: Subtracted from values in 0..1, by channel.
        std: Divides the result, by channel.
        crop_mode: How the image is fitted into the square.

    Raises:
        UserError: A value is invalid.
    """

    image_size: int = 224
    resize_size: int = 256
    interpolation: Interpolation = Interpolation.BILINEAR
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    crop_mode: CropMode = CropMode.CENTER

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise UserError(f"image_size must be at least 1 px, got {self.image_size}.")
        if self.resize_size < self.image_size:
            raise UserError(f"resize_size must be at least image_size, {self.image_size}, got {self.resize_size}.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise UserError(f"{name} must be three finite numbers, got {values}.")
        if min(self.std) <= 0:
            raise UserError(f"std must be above 0, got {self.std}.")

    @classmethod
    def usual(cls, image_size: int = 224) -> "Preprocessing":
        """Return the usual transform of ImageNet: bilinear, resized to image_size * 256 / 224.

        >>> Preprocessing.usual(64).resize_size
        73
        """
        return cls().at(image_size)

    def at(self, image_size: int) -> "Preprocessing":
        """Return the same transform for another image size, with the same ratio of resized side and crop.

        >>> Preprocessing(image_size=300, resize_size=320).at(150).resize_size
        160
        """
        resize_size = round(image_size * (self.resize_size / self.image_size))
        return replace(self, image_size=image_size, resize_size=resize_size)

    @property
    def is_usual(self) -> bool:
        """Whether this is the usual transform of ImageNet at some image size."""
        return self == Preprocessing.usual(self.image_size)

    @property
    def border(self) -> int:
        """The distance, px, between the edges of the resized square and of its central crop.

        >>> Preprocessing.usual(224).border, Preprocessing.usual(64).border
        (16, 4)
        """
        return round((self.resize_size - self.image_size) / 2)

    @property
    def geometry(self) -> tuple[str, ...]:
        """What the pixels of a decoded image depend on besides the image size; empty for the usual transform."""
        if replace(self, mean=IMAGENET_MEAN, std=IMAGENET_STD).is_usual:
            return ()
        filled = [str(self.mean)] if self.crop_mode is CropMode.BORDER else []
        return (str(self.resize_size), self.interpolation.value, self.crop_mode.value, *filled)

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Read values written by `to_json`.

        Raises:
            UserError: A key is unknown or a value is invalid.
        """
        readers: dict[str, Callable[[Any], Any]] = {
            "image_size": int,
            "resize_size": int,
            "interpolation": Interpolation,
            "crop_mode": CropMode,
            "mean": tuple,
            "std": tuple,
        }
        if unknown := values.keys() - readers.keys():
            raise UserError(f"preprocessing must have the keys {', '.join(readers)}, got {', '.join(sorted(unknown))}.")
        try:
            return cls(**{name: readers[name](value) for name, value in values.items()})
        except UserError:
            raise
        except (TypeError, ValueError) as error:
            raise UserError(f"preprocessing has an invalid value ({error}).") from error

    def __call__(self, path: Path | str) -> "Tensor":
        """Load an image, shape (3, image_size, image_size). Raises UserError if it cannot be read."""
        from pan_model.images.decoding import load_image  # imports torch, which takes seconds

        return load_image(Path(path), self)


def as_preprocessing(image_size: int | Preprocessing) -> Preprocessing:
    """Return a preprocessing; an image size stands for the usual one."""
    return image_size if isinstance(image_size, Preprocessing) else Preprocessing.usual(image_size)
