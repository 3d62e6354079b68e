"""The encoder's inputs: normalised features of items, frozen or learned."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.model.normalisation import Normalisation, Spectrum
from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import Pairs
from pan_model.training.trial_cache import TrialCache

KEPT_BYTES = 2**29
"""The largest table that is kept in CPU memory alongside the features; a GPU keeps tables of any size."""


@runtime_checkable
class StepInputs(Protocol):
    """The normalised features of the items of one training step."""

    @property
    def table(self) -> Float[Tensor, "N D"] | None:
        """The rows of all items, if they are kept; None if rows are computed when they are needed."""
        ...

    def of(self, items: Int[Tensor, "U"]) -> Float[Tensor, "U D"]:
        """Return the rows of some of the step's items."""
        ...

    def backward(self) -> None:
        """Backpropagate the gradient of the rows to the backbone that is trained, if any."""
        ...


@runtime_checkable
class Inputs(Protocol):
    """The features of items, given by index, in training and evaluation.

    Attributes:
        backbone: The backbone that is trained, with its current weights; None if features are frozen.
    """

    @property
    def backbone(self) -> Backbone | None:
        """The backbone that is trained, with its current weights; None if features are frozen."""
        ...

    def of_steps(self, steps: Sequence[Pairs], *, epoch: int, seed: int) -> Iterator[StepInputs]:
        """Yield the inputs of an epoch's training steps; epochs count from 1."""
        ...

    def of(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Return normalised features for evaluation, without a gradient."""
        ...

    def features(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Return features before normalisation, which a saved model takes."""
        ...

    def parameter_groups(self) -> list[dict[str, object]]:
        """Return the backbone's weights as parameter groups of a torch optimiser; none if features are frozen."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint must hold."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint, which may hold other keys."""
        ...

    def close(self) -> None:
        """Stop the processes that load images, if any; they start again when needed."""
        ...


@runtime_checkable
class Rows(Protocol):
    """The normalised features (N, D) of N items."""

    def __len__(self) -> int:
        """Return N."""
        ...

    def __getitem__(self, items: Int[Tensor, "n"], /) -> Float[Tensor, "n D"]:
        """Return the rows of some items."""
        ...


class ComputedRows:
    """Rows that are normalised on each access."""

    def __init__(self, normalisation: Normalisation, features: Float[Tensor, "N D"]) -> None:
        self._normalisation = normalisation
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        return self._normalisation.normalise_all(self._features[items])


def _exceeds(normalisation: Normalisation, features: Float[Tensor, "N D"], kept_bytes: int) -> bool:
    return features.device.type == "cpu" and features.nbytes > kept_bytes and not normalisation.keeps_features


def fit_and_normalise(
    normalisation: Normalisation,
    features: Float[Tensor, "N D"],
    groups: Int[Tensor, "n"],
    items: Int[Tensor, "n"],
    *,
    at_once: bool,
    cache: TrialCache,
) -> Rows:
    """Fit a normalisation and normalise all features, unless a trial with the same configuration has done it.

    Args:
        normalisation: The normalisation to fit.
        features: The features as extracted. All calls with a cache have the same ones.
        groups: The class, or other group, of each listed item.
        items: The rows to fit on; a row may be listed several times.
        at_once: Whether all features are normalised now, whatever their size.
        cache: Keeps what trials compute alike.
    """
    fitted_on = hashlib.sha256(items.cpu().numpy().tobytes() + groups.cpu().numpy().tobytes()).hexdigest()

    def spectrum() -> Spectrum:
        key = ("spectrum", normalisation.config.feature_power, fitted_on)
        return cache.get(key, lambda: normalisation.spectrum_within(features, groups, items))

    def fit() -> dict[str, Tensor]:
        normalisation.fit(features, groups, items, spectrum)
        return {name: value.clone() for name, value in normalisation.state_dict().items()}

    normalisation.load_state_dict(cache.get(("fitted", normalisation.config, fitted_on), fit))
    if not at_once and _exceeds(normalisation, features, KEPT_BYTES):
        return ComputedRows(normalisation, features)
    return cache.get(("normalised", normalisation.config, fitted_on), lambda: normalisation.normalise_all(features))


class FrozenInputs:
    """Rows of a table: features as extracted (N, D), and normalised (N, D).

    The same object serves as the inputs of each training step.
    """

    backbone = None

    def __init__(self, features: Float[Tensor, "N D"], normalised: Rows) -> None:
        self._features = features
        self._normalised = normalised

    @property
    def table(self) -> Float[Tensor, "N D"] | None:
        """The normalised rows of all items, if they are kept."""
        return self._normalised if isinstance(self._normalised, Tensor) else None

    def of_steps(self, steps: Sequence[Pairs], *, epoch: int, seed: int) -> Iterator["FrozenInputs"]:
        """Yield this table for every step."""
        return (self for _ in steps)

    def of(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Return normalised features."""
        return self._normalised[items] if self.table is None else self.table.index_select(0, items)

    def features(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Return features as extracted."""
        return self._features[items]

    def backward(self) -> None:
        """Do nothing: no weights are trained."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """Return no groups."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state: the table comes from the data."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
