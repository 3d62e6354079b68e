"""The encoder's inputs: normalised features of items, frozen or learned."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.model.normalisation import Normalisation
from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import Pairs

KEPT_BYTES = 2**29
"""The largest table that is kept in a CPU's memory beside the features; a GPU keeps any."""


@runtime_checkable
class StepInputs(Protocol):
    """The normalised features of the items of one training step."""

    def of(self, items: Int[Tensor, "U"]) -> Float[Tensor, "U D"]:
        """The rows of some of the step's items."""
        ...

    def backward(self) -> None:
        """Hand the gradient that has reached the rows on to the weights that made them, if any did."""
        ...


@runtime_checkable
class Inputs(Protocol):
    """What the trainer asks for the features of items, given by index.

    costly says whether each item that is asked for takes time; backbone is the one that learns, if one does.
    """

    costly: bool

    @property
    def backbone(self) -> Backbone | None:
        """The backbone that is trained, as it is now; None where features are fixed."""
        ...

    def of_steps(self, steps: Sequence[Pairs], *, epoch: int, seed: int) -> Iterator[StepInputs]:
        """The inputs of an epoch's training steps, one after another; epochs count from 1."""
        ...

    def of(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Normalised features in evaluation, without a gradient."""
        ...

    def features(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """The same before normalisation: what a saved model takes."""
        ...

    def parameter_groups(self) -> list[dict[str, object]]:
        """The weights behind the features as groups of a torch optimiser."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to hold of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint that holds `state_dict` among other things."""
        ...

    def close(self) -> None:
        """End processes that help, if any do; they start again when they are needed."""
        ...


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


class FrozenInputs:
    """Rows of a table: features as they were extracted (N, D), and normalised (N, D).

    They are the inputs of each of its training steps, too.
    """

    costly = False
    backbone = None

    def __init__(self, features: Float[Tensor, "N D"], normalised: Rows) -> None:
        self._features = features
        self._normalised = normalised

    def of_steps(self, steps: Sequence[Pairs], *, epoch: int, seed: int) -> Iterator["FrozenInputs"]:
        """The table itself in every step."""
        return (self for _ in steps)

    def of(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Normalised features."""
        return self._normalised[items]

    def features(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Features as they were extracted."""
        return self._features[items]

    def backward(self) -> None:
        """Nothing here learns."""

    def parameter_groups(self) -> list[dict[str, object]]:
        """None."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the table comes from the data."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to end."""
