"""Inputs: what the encoder sees of items, normalised features, whether they are fixed or still learned."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import Pairs


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
