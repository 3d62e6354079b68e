"""Fixed inputs: features that a backbone extracted once, normalised and looked up ever after."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import Pairs
from pan_model.training.normalised_rows import Rows


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
