"""Normalised features of a dataset, kept as a second table where that is small, else computed as they are asked for."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from pan_model.model.normalisation import Normalisation
from pan_model.shapes import Float, Int

KEPT_BYTES = 2**29
"""The largest table that is kept in a CPU's memory beside the features; a GPU keeps any."""


@runtime_checkable
class Rows(Protocol):
    """The normalised features (N, D) of N items."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, items: Int[Tensor, "n"], /) -> Float[Tensor, "n D"]:
        """The rows of some items."""
        ...


class ComputedRows:
    """Rows that are normalised anew each time."""

    def __init__(self, normalisation: Normalisation, features: Float[Tensor, "N D"]) -> None:
        self._normalisation = normalisation
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        return self._normalisation.normalise_all(self._features[items])


def normalise_rows(
    normalisation: Normalisation, features: Float[Tensor, "N D"], *, kept_bytes: int = KEPT_BYTES
) -> Rows:
    """Normalise all features: at once, unless they lie in a CPU's memory and take more than kept_bytes."""
    if features.device.type == "cpu" and features.nbytes > kept_bytes and not normalisation.keeps_features:
        return ComputedRows(normalisation, features)
    return normalisation.normalise_all(features)
