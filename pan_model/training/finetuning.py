"""Fine-tuning: how a trial trains its backbone, and the backbone and images that it starts from."""

import math
from dataclasses import dataclass

import torch

from pan_model.backbones.architectures import Backbone
from pan_model.errors import UserError
from pan_model.images.augmentation import AugmentationConfig
from pan_model.images.decoded_cache import DecodedImages

PIXELS_BATCH_SIZE = {"cpu": 16 * 224**2, "cuda": 64 * 224**2}
"""Pixels of a step's images that go through the backbone with their activations at a time, by device; a ResNet-50
takes about 6 GB for these on a GPU, and 2 GB on a CPU."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """The backbone's learning rate, the first epochs in which it rests, and how much training changes its images.

    While it rests (ProxyNCA++ has 5 such epochs), a trial is the frozen one of the same configuration, and learns from
    the features of the first weights. The learning rate follows the trial's schedule; both decays of the trial hold
    for the backbone, too. crop_scale_min is that of `AugmentationConfig`.
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
        _ = self.augmentation  # has a rule for crop_scale_min

    @property
    def augmentation(self) -> AugmentationConfig:
        """How images are changed each time that they are trained on."""
        return AugmentationConfig(crop_scale_min=self.crop_scale_min)


@dataclass(frozen=True, kw_only=True, eq=False)
class FinetuneStart:
    """What a trial that trains its backbone needs beside the frozen features: the backbone that made them, images.

    The backbone holds the first weights, and keeps them: a trial trains a copy. images are those of the task's N
    items, in their order. num_workers processes prepare them ahead, and as many again those of evaluation.
    images_at_once bounds memory, by default by device; the result does not depend on it but for rounding.
    mixed_precision plays a part on a GPU only.
    """

    backbone: Backbone
    images: DecodedImages
    num_workers: int = 0
    images_at_once: int | None = None
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        if self.images_at_once is not None and self.images_at_once < 1:
            raise UserError(f"images_at_once must be at least 1, got {self.images_at_once}.")

    def batch_size_on(self, device: torch.device) -> int:
        """How many images go through the backbone with their activations at a time."""
        return self.images_at_once or max(1, PIXELS_BATCH_SIZE[device.type] // self.images.image_size**2)
