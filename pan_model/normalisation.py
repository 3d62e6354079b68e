"""Fixed normalisation of backbone features, before any trained layer."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pan_model.errors import BadInput
from pan_model.shapes import Float, Int
from pan_model.signed_power import signed_power


class NormalisationKind(StrEnum):
    """none, standardise (mean and deviation of the training items, the paper's way), l2 (unit length), or whiten.

    whiten: the covariance within the training classes is made isotropic, then vectors are brought to unit length.
    """

    NONE = "none"
    STANDARDISE = "standardise"
    L2 = "l2"
    WHITEN = "whiten"


@dataclass(frozen=True, kw_only=True)
class NormalisationConfig:
    """The kind; for whiten how far the covariance is shrunk, 0 as measured, 1 the same in all directions; a power.

    feature_power is applied to every feature before anything else, sign(x) |x|^power (Tukey's ladder): features that
    rectified units gave are skewed, and a power of 0.5 brings their classes closer to spherical Gaussians.
    """

    normalisation: NormalisationKind = NormalisationKind.STANDARDISE
    whitening_shrinkage: float | None = None
    feature_power: float = 1.0

    def __post_init__(self) -> None:
        if (self.normalisation is NormalisationKind.WHITEN) != (self.whitening_shrinkage is not None):
            raise BadInput(
                "whitening_shrinkage must be given when, and only when, normalisation is whiten; "
                f"normalisation is {self.normalisation}, got {self.whitening_shrinkage}."
            )
        if self.whitening_shrinkage is not None and not 0 < self.whitening_shrinkage <= 1:
            raise BadInput(f"whitening_shrinkage must lie in (0, 1], got {self.whitening_shrinkage}.")
        if not 0 < self.feature_power <= 1:
            raise BadInput(f"feature_power must lie in (0, 1], got {self.feature_power}.")


class Normalisation(nn.Module):
    """A fixed map of features, fitted on the training items, after the power of its configuration.

    standardise: (x - mean) / std, features that never vary left at 0. l2: x / |x|. whiten: z / |z| with
    z = C^(-1/2) (x - mean), C = (1 - a) S + a tr(S) / D I, S the covariance within classes and a the shrinkage (the
    Gaussian whose class means a nearest-mean rule compares best; shrunk as in Ledoit and Wolf, 2004).

    What is fitted are buffers, so that a saved model takes features as they were extracted.
    """

    mean: Tensor
    std: Tensor
    whitening: Tensor

    def __init__(self, config: NormalisationConfig, feature_dim: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("std", torch.ones(feature_dim))
        if config.normalisation is NormalisationKind.WHITEN:
            self.register_buffer("whitening", torch.eye(feature_dim))

    def fit(self, features: Float[Tensor, "N D"], classes: Int[Tensor, "N"]) -> None:
        """Take what the kind needs from the training items; their classes, or other groups, count for whiten only."""
        features = self._raise_to_power(features)
        match self.config.normalisation:
            case NormalisationKind.STANDARDISE:
                std, mean = torch.std_mean(features, dim=0, correction=0)
                self.mean.copy_(mean)
                self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))
            case NormalisationKind.WHITEN:
                assert self.config.whitening_shrinkage is not None
                self.mean.copy_(features.mean(dim=0))
                covariance = covariance_within(features, classes)
                self.whitening.copy_(inverse_root(covariance, self.config.whitening_shrinkage))
            case NormalisationKind.NONE | NormalisationKind.L2:
                pass

    def forward(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Normalise N feature vectors."""
        features = self._raise_to_power(features)
        match self.config.normalisation:
            case NormalisationKind.NONE:
                return features
            case NormalisationKind.STANDARDISE:
                return (features - self.mean) / self.std
            case NormalisationKind.L2:
                return F.normalize(features, dim=1)
            case NormalisationKind.WHITEN:
                return F.normalize((features - self.mean) @ self.whitening, dim=1)

    def _raise_to_power(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        return signed_power(features, self.config.feature_power)


def covariance_within(features: Float[Tensor, "N D"], classes: Int[Tensor, "N"]) -> Float[Tensor, "D D"]:
    """The covariance of the items about their own class's mean, in double precision.

    >>> covariance_within(torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1])).tolist()
    [[0.6666666666666666]]
    """
    _, place = classes.unique(return_inverse=True)
    num_classes = int(place.max()) + 1
    rows = features.double()
    sums = rows.new_zeros(num_classes, rows.shape[1]).index_add_(0, place, rows)
    counts = torch.bincount(place, minlength=num_classes).to(rows.dtype)
    centred = rows - (sums / counts[:, None])[place]
    return centred.T @ centred / len(rows)


def inverse_root(covariance: Float[Tensor, "D D"], shrinkage: float) -> Float[Tensor, "D D"]:
    """C^(-1/2) of C = (1 - a) S + a tr(S) / D I; the identity where nothing varies at all.

    >>> inverse_root(torch.tensor([[4.0, 0.0], [0.0, 0.0]]), 0.5).tolist()
    [[0.5773502588272095, 0.0], [0.0, 1.0]]
    """
    values, directions = torch.linalg.eigh(covariance)
    values = values.clamp(min=0)
    mean = values.mean()
    if mean == 0:
        return torch.eye(len(values), dtype=covariance.dtype, device=covariance.device)
    shrunk = (1 - shrinkage) * values + shrinkage * mean
    return (directions / shrunk.sqrt()) @ directions.T
