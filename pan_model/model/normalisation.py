"""Normalisation of backbone features, fitted on the training items and fixed before any trained layer."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pan_model.errors import UserError
from pan_model.shapes import Float, Int

ROWS_BATCH_SIZE = 4096
"""Rows of features in memory at a time, in double precision; a class with more rows is not split."""

STEEPEST_AT = 1e-3
"""Smallest |x| at which the gradient of `signed_power` is evaluated. The true one, p |x|^(p - 1), is infinite at 0."""

RowsAt = Callable[[Tensor], Tensor]
"""Return the rows (R, D) at R positions."""


class NormalisationKind(StrEnum):
    """How features are normalised.

    none; standardise: mean and deviation of the training items, as in the paper; l2: unit length; whiten: isotropic
    covariance within the training classes, then unit length.
    """

    NONE = "none"
    STANDARDISE = "standardise"
    L2 = "l2"
    WHITEN = "whiten"


@dataclass(frozen=True, kw_only=True)
class NormalisationConfig:
    """How features are normalised.

    Attributes:
        normalisation: The kind.
        whitening_shrinkage: For whiten: how far the covariance is shrunk towards the isotropic one, in (0, 1].
        feature_power: Applied first, to every feature: sign(x) |x|^power (Tukey's ladder). Rectified features are
            skewed; a power of 0.5 brings their classes closer to spherical Gaussians.
    """

    normalisation: NormalisationKind = NormalisationKind.STANDARDISE
    whitening_shrinkage: float | None = None
    feature_power: float = 1.0

    def __post_init__(self) -> None:
        if (self.normalisation is NormalisationKind.WHITEN) != (self.whitening_shrinkage is not None):
            raise UserError(
                "whitening_shrinkage must be given when, and only when, normalisation is whiten; "
                f"normalisation is {self.normalisation}, got {self.whitening_shrinkage}."
            )
        if self.whitening_shrinkage is not None and not 0 < self.whitening_shrinkage <= 1:
            raise UserError(f"whitening_shrinkage must lie in (0, 1], got {self.whitening_shrinkage}.")
        if not 0 < self.feature_power <= 1:
            raise UserError(f"feature_power must lie in (0, 1], got {self.feature_power}.")


class Spectrum(NamedTuple):
    """The mean of features, and the eigenvalues and eigenvectors of their covariance within classes."""

    mean: Float[Tensor, "D"]
    values: Float[Tensor, "D"]
    directions: Float[Tensor, "D D"]


class Normalisation(nn.Module):
    """A fixed map of features, fitted on the training items. The feature power is applied first.

    standardise: (x - mean) / std; constant features become 0. l2: x / |x|. whiten: z / |z| with
    z = C^(-1/2) (x - mean), C = (1 - a) S + a tr(S) / D I, S the covariance within classes and a the shrinkage (for
    Gaussian classes with covariance C a nearest-mean rule on z is optimal; shrunk as in Ledoit and Wolf, 2004).

    The fitted values are buffers, so that a saved model takes features as extracted.
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

    def fit(
        self,
        features: Float[Tensor, "N D"],
        classes: Int[Tensor, "n"],
        items: Int[Tensor, "n"] | None = None,
        spectrum: Callable[[], "Spectrum"] | None = None,
    ) -> None:
        """Fit the normalisation on the training items, a few thousand rows at a time.

        Args:
            features: The features as extracted.
            classes: The class, or other group, of each listed item; used by whiten only.
            items: The rows to fit on; a row may be listed several times. All rows by default.
            spectrum: Returns the result of `spectrum_within` for these arguments if it is known; used by whiten only.
        """
        listed = torch.arange(len(features), device=features.device) if items is None else items

        def rows_at(places: Int[Tensor, "R"]) -> Float[Tensor, "R D"]:
            return self._raise_to_power(features[listed[places]])

        match self.config.normalisation:
            case NormalisationKind.STANDARDISE:
                mean, std = _mean_and_deviation(rows_at, len(listed))
                self.mean.copy_(mean)
                self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))
            case NormalisationKind.WHITEN:
                assert self.config.whitening_shrinkage is not None
                known = self.spectrum_within(features, classes, listed) if spectrum is None else spectrum()
                self.mean.copy_(known.mean)
                self.whitening.copy_(_inverse_root(known.values, known.directions, self.config.whitening_shrinkage))
            case NormalisationKind.NONE | NormalisationKind.L2:
                pass

    def spectrum_within(
        self, features: Float[Tensor, "N D"], classes: Int[Tensor, "n"], items: Int[Tensor, "n"]
    ) -> "Spectrum":
        """Return what whiten is fitted from, whatever its shrinkage; the arguments are those of `fit`."""

        def rows_at(places: Int[Tensor, "R"]) -> Float[Tensor, "R D"]:
            return self._raise_to_power(features[items[places]])

        return Spectrum(_mean(rows_at, len(items)), *torch.linalg.eigh(_covariance_within(rows_at, classes)))

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

    def normalise_all(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Normalise all features of a dataset with little memory besides the result. May return `features` itself."""
        if self.keeps_features or len(features) <= ROWS_BATCH_SIZE:
            return self(features)
        normalised = torch.empty_like(features)
        for into, piece in zip(normalised.split(ROWS_BATCH_SIZE), features.split(ROWS_BATCH_SIZE), strict=True):
            into.copy_(self(piece))
        return normalised

    @property
    def keeps_features(self) -> bool:
        """Whether the normalisation is the identity."""
        return self.config.normalisation is NormalisationKind.NONE and self.config.feature_power == 1

    def _raise_to_power(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        return signed_power(features, self.config.feature_power)


def covariance_within(features: Float[Tensor, "N D"], classes: Int[Tensor, "N"]) -> Float[Tensor, "D D"]:
    """Return the covariance of the items about their class means, in double precision.

    >>> covariance_within(torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1])).tolist()
    [[0.6666666666666666]]
    """
    return _covariance_within(lambda places: features[places], classes)


def _covariance_within(rows_at: RowsAt, classes: Int[Tensor, "n"]) -> Float[Tensor, "D D"]:
    """Return the covariance within classes of rows that are fetched by position, whole classes at a time."""
    order = torch.argsort(classes, stable=True)
    counts = classes.unique(return_counts=True)[1]
    piece_of = (counts.cumsum(0) - 1) // ROWS_BATCH_SIZE
    covariance, start = torch.zeros((), dtype=torch.float64, device=classes.device), 0
    for piece in piece_of.unique():
        of_piece = counts[piece_of == piece]
        stop = start + int(of_piece.sum())
        rows = rows_at(order[start:stop]).double()
        place = torch.arange(len(of_piece), device=rows.device).repeat_interleave(of_piece)
        sums = rows.new_zeros(len(of_piece), rows.shape[1]).index_add_(0, place, rows)
        rows -= (sums / of_piece[:, None])[place]
        covariance = covariance + rows.T @ rows
        start = stop
    return covariance / len(classes)


def _mean(rows_at: RowsAt, num_rows: int) -> Float[Tensor, "D"]:
    """Return the mean of rows, computed from the means of batches."""
    pieces = torch.arange(num_rows).split(ROWS_BATCH_SIZE)
    return torch.stack([rows_at(piece).mean(dim=0).double() * (len(piece) / num_rows) for piece in pieces]).sum(dim=0)


def _mean_and_deviation(rows_at: RowsAt, num_rows: int) -> tuple[Float[Tensor, "D"], Float[Tensor, "D"]]:
    """Return mean and deviation of rows, in double precision; a constant feature has a deviation of exactly 0."""
    places = torch.arange(num_rows)
    first = rows_at(places[:1])[0].double()
    sums, squares = torch.zeros_like(first), torch.zeros_like(first)
    for piece in places.split(ROWS_BATCH_SIZE):
        sums += (rows_at(piece).double() - first).sum(dim=0)
    mean = first + sums / num_rows
    for piece in places.split(ROWS_BATCH_SIZE):
        squares += (rows_at(piece).double() - mean).square_().sum(dim=0)
    return mean, (squares / num_rows).sqrt()


def inverse_root(covariance: Float[Tensor, "D D"], shrinkage: float) -> Float[Tensor, "D D"]:
    """Return C^(-1/2) of C = (1 - a) S + a tr(S) / D I; the identity if S is 0.

    >>> inverse_root(torch.tensor([[4.0, 0.0], [0.0, 0.0]]), 0.5).tolist()
    [[0.5773502588272095, 0.0], [0.0, 1.0]]
    """
    values, directions = torch.linalg.eigh(covariance)
    return _inverse_root(values, directions, shrinkage)


def _inverse_root(
    values: Float[Tensor, "D"], directions: Float[Tensor, "D D"], shrinkage: float
) -> Float[Tensor, "D D"]:
    """Return `inverse_root` of a covariance with these eigenvalues and eigenvectors."""
    values = values.clamp(min=0)
    mean = values.mean()
    if mean == 0:
        return torch.eye(len(values), dtype=values.dtype, device=values.device)
    shrunk = (1 - shrinkage) * values + shrinkage * mean
    return (directions / shrunk.sqrt()) @ directions.T


class _SignedPower(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, power: float) -> Tensor:
        ctx.save_for_backward(features)
        ctx.power = power
        return features.sign() * features.abs() ** power

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (features,) = ctx.saved_tensors
        return gradients[0] * ctx.power * features.abs().clamp(min=STEEPEST_AT) ** (ctx.power - 1), None


def signed_power(features: Float[Tensor, "N D"], power: float) -> Float[Tensor, "N D"]:
    """Return sign(x) |x|^power of every feature (Tukey's ladder), with a finite gradient at 0.

    >>> signed_power(torch.tensor([[4.0, -9.0, 0.0]]), 0.5).tolist()
    [[2.0, -3.0, 0.0]]
    """
    if power == 1:
        return features
    return _SignedPower.apply(features, power)
