"""Configuration of fine-tuning: how a trial trains its backbone, and the backbone and images that it uses."""

import math
from dataclasses import dataclass

import torch

from pan_model.backbones.architectures import Backbone
from pan_model.errors import UserError
from pan_model.images.augmentation import AugmentationConfig
from pan_model.images.decoded_cache import DecodedImages

PIXELS_BATCH_SIZE = {"cpu": 16 * 224**2, "cuda": 64 * 224**2}
"""Pixels of a batch that goes through the backbone with its activations, by device. A ResNet-50 takes about 6 GB for
them on a GPU, and 2 GB on a CPU."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How a trial trains its backbone. The schedule and both decays of the trial apply to the backbone, too.

    Attributes:
        backbone_learning_rate: The learning rate of the backbone.
        backbone_warmup_epochs: The first epochs, in which the backbone is frozen and the trial uses the features of the
            initial weights (ProxyNCA++: 5).
        crop_scale_min: See `AugmentationConfig`.
    """

    backbone_learning_rate: float
    backbone_warmup_epochs: int
    crop_scale_min: float = AugmentationConfig.crop_scale_min

    def __post_init__(self) -> None:
        if not (math.isfinite(self.backbone_learning_rate) and self.backbone_learning_rate > 0):
            raise UserError(
                f"backbone_learning_rate must be a finite number above 0, got {self.backbone_learning_rate}."
            )
        if self.backbone_warmup_epochs < 0:
            raise UserError(f"backbone_warmup_epochs must be 0 or more, got {self.backbone_warmup_epochs}.")
        _ = self.augmentation  # checks crop_scale_min

    @property
    def augmentation(self) -> AugmentationConfig:
        """The augmentation of training images."""
        return AugmentationConfig(crop_scale_min=self.crop_scale_min)


@dataclass(frozen=True, kw_only=True, eq=False)
class FinetuneStart:
    """The backbone and the images of a trial that trains its backbone.

    Attributes:
        backbone: The backbone with its initial weights. A trial trains a copy.
        images: The decoded images of the task's N items, in order.
        num_workers: Processes that prepare training images ahead, and as many again for evaluation.
        batch_size: Images in a batch that goes through the backbone with its activations; by default chosen by
            device. It bounds memory, and changes results by rounding only.
        mixed_precision: Whether the backbone trains in mixed precision on a GPU.
    """

    backbone: Backbone
    images: DecodedImages
    num_workers: int = 0
    batch_size: int | None = None
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {self.batch_size}.")

    def batch_size_on(self, device: torch.device) -> int:
        """Return the number of images that go through the backbone at a time on a device."""
        return self.batch_size or max(1, PIXELS_BATCH_SIZE[device.type] // self.images.image_size**2)
