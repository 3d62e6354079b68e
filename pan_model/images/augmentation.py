"""Random augmentation of training images."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pan_model.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds to import and is not needed for a configuration

Transform = Callable[["Tensor"], "Tensor"]
"""Maps a uint8 image of shape (3, side, side) to one of shape (3, image_size, image_size)."""


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Random resized crop, colour jitter and horizontal flip.

    The defaults are those of PAN's first stage on CUB. Unlike there, crops are taken from the central square in the
    cache, not from the whole image.

    Attributes:
        crop_scale_min: Smallest area of a crop as a fraction of the image, in (0, 1]. Its aspect ratio is 3:4 to 4:3.
        colour_jitter: Largest relative change of brightness, contrast and saturation, in [0, 1]. 0 disables it.
        flip: Whether half of the images are mirrored.
    """

    crop_scale_min: float = 0.08
    colour_jitter: float = 0.4
    flip: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.crop_scale_min) and 0 < self.crop_scale_min <= 1):
            raise UserError(f"crop_scale_min must be above 0 and at most 1, got {self.crop_scale_min}.")
        if not (math.isfinite(self.colour_jitter) and 0 <= self.colour_jitter <= 1):
            raise UserError(f"colour_jitter must lie between 0 and 1, got {self.colour_jitter}.")

    def build(self, image_size: int) -> Transform:
        """Build the transform. It uses the default random generator of torch on the CPU."""
        from torchvision.transforms import v2  # takes seconds to import

        steps: list[Transform] = [v2.RandomResizedCrop(image_size, scale=(self.crop_scale_min, 1.0), antialias=True)]
        if self.colour_jitter:
            steps.append(v2.ColorJitter(self.colour_jitter, self.colour_jitter, self.colour_jitter))
        if self.flip:
            steps.append(v2.RandomHorizontalFlip())
        return v2.Compose(steps)
