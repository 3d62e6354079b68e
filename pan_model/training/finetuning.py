"""How a trial trains its backbone."""

import math
from dataclasses import dataclass

from pan_model.errors import UserError
from pan_model.images.augmentation import AugmentationConfig


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
