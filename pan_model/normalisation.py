"""Fixed normalisation of backbone features, before any trained layer."""

from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pan_model.shapes import Float


class NormalisationKind(StrEnum):
    """none, standardise (mean and deviation of the training items, the paper's way), or l2 (unit length)."""

    NONE = "none"
    STANDARDISE = "standardise"
    L2 = "l2"


class Normalisation(nn.Module):
    """Standardise: (x - mean) / std of the training items, features that never vary left at 0. L2: x / |x|.

    mean and std are buffers, so that a saved model takes features as they were extracted.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, kind: NormalisationKind, feature_dim: int) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("std", torch.ones(feature_dim))

    def fit(self, features: Float[Tensor, "N D"]) -> None:
        """Take mean and deviation from the training items."""
        if self.kind is NormalisationKind.STANDARDISE:
            std, mean = torch.std_mean(features, dim=0, correction=0)
            self.mean.copy_(mean)
            self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))

    def forward(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Normalise N feature vectors."""
        match self.kind:
            case NormalisationKind.NONE:
                return features
            case NormalisationKind.STANDARDISE:
                return (features - self.mean) / self.std
            case NormalisationKind.L2:
                return F.normalize(features, dim=1)
