"""The encoder protocol, and the registry's look-ups."""

import pkgutil
from typing import Protocol, runtime_checkable

from torch import Tensor

from pan_model.errors import UserError
from pan_model.model.encoders import ENCODERS
from pan_model.shapes import Float, Int


@runtime_checkable
class Encoder(Protocol):
    """A torch module that maps features to embeddings.

    Attributes:
        embedding_dim: E, the length of an embedding.
        uses_graph: Whether an item's embedding depends on its neighbours.
    """

    embedding_dim: int
    uses_graph: bool

    def __call__(self, features: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"] | None = None) -> Float[Tensor, "N E"]:
        """Embed N items. Graph encoders use `edges`, pairs of rows, each listed once; others ignore it."""
        ...

    def keep_distances(self) -> None:
        """Set initial weights that preserve the distances between features as well as the encoder can.

        Raises:
            UserError: The encoder cannot preserve distances.
        """
        ...

    def own_loss(self, embeddings: Float[Tensor, "N E"], classes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """Return the encoder's own, weighted loss; classes are 0-based among the training classes."""
        ...

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return the encoder's weights as parameter groups of a torch optimiser."""
        ...


@runtime_checkable
class EncoderConfig(Protocol):
    """The configuration of an encoder: a frozen dataclass of scalars."""

    def build(self, *, feature_dim: int, num_classes: int) -> Encoder:
        """Build the encoder for D features and a number of training classes."""
        ...


def find_encoder(name: object) -> type[EncoderConfig]:
    """Return the configuration class of an encoder.

    Raises:
        UserError: No encoder has that name.
    """
    if not isinstance(name, str) or name not in ENCODERS:
        raise UserError(f"encoder must be one of {', '.join(ENCODERS)}, got {name!r}.")
    return pkgutil.resolve_name(ENCODERS[name])


def encoder_name(config: EncoderConfig) -> str:
    """Return the name under which an encoder's configuration is registered."""
    return next(name for name in ENCODERS if isinstance(config, find_encoder(name)))
