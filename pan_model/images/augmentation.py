"""Augmentation: an image changed at random each time that it is trained on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pan_model.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor  # takes seconds to import, which a configuration does not need

Transform = Callable[["Tensor"], "Tensor"]
"""From a (3, side, side) image in uint8 to one of (3, image_size, image_size)."""


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """A crop of random place and size, resized to the image's size; colours changed; mirrored every other time.

    crop_scale_min is the smallest share of the image's area that a crop may have; its sides are as 3:4 to 4:3.
    colour_jitter changes brightness, contrast and saturation by up to so much either way, hue never; 0 is off. The
    defaults are those of PAN's first stage on CUB. Ours: crops are taken from the central square that is in the cache,
    not from the whole image.
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
        """Make the transform; it draws from torch's generator on the CPU."""
        from torchvision.transforms import v2  # takes seconds to import, which nothing else here needs

        steps: list[Transform] = [v2.RandomResizedCrop(image_size, scale=(self.crop_scale_min, 1.0), antialias=True)]
        if self.colour_jitter:
            steps.append(v2.ColorJitter(self.colour_jitter, self.colour_jitter, self.colour_jitter))
        if self.flip:
            steps.append(v2.RandomHorizontalFlip())
        return v2.Compose(steps)
