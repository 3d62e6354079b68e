"""What a trial that trains its backbone starts from: the backbone with its first weights, and the images."""

from dataclasses import dataclass

import torch

from pan_model.backbones.architectures import Backbone
from pan_model.errors import UserError
from pan_model.images.decoded_cache import DecodedImages

PIXELS_AT_ONCE = {"cpu": 16 * 224**2, "cuda": 64 * 224**2}
"""Pixels of a step's images that go through the backbone with their activations at a time, by device; a ResNet-50
takes about 6 GB for these on a GPU, and 2 GB on a CPU."""


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

    def at_once_on(self, device: torch.device) -> int:
        """How many images go through the backbone with their activations at a time."""
        return self.images_at_once or max(1, PIXELS_AT_ONCE[device.type] // self.images.image_size**2)
