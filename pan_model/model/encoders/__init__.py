"""Encoders: from (N, D) features to (N, E) embeddings. A new encoder is one file and one row of ENCODERS."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from pan_model.model.encoders.graph import GraphConfig
from pan_model.model.encoders.proxynca import ProxyNCAConfig
from pan_model.model.encoders.siamese import SiameseConfig
from pan_model.shapes import Float, Int


@runtime_checkable
class Encoder(Protocol):
    """What the model and the trainer ask of an encoder, beside being a torch module.

    uses_graph says whether an item's embedding depends on its neighbours.
    """

    embedding_dim: int
    uses_graph: bool

    def __call__(self, features: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"] | None = None) -> Float[Tensor, "N E"]:
        """Embed N items, among which there are edges (pairs of rows, each once); only graph encoders look at them."""
        ...

    def keep_distances(self) -> None:
        """Set first weights at which embeddings are as near or far as features, as well as the encoder can.

        Raises UserError where it cannot at all.
        """
        ...

    def own_loss(self, embeddings: Float[Tensor, "N E"], classes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """The loss that the encoder adds to PAN's, already weighted; classes are 0-based among the training classes."""
        ...

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """The encoder's weights as groups of a torch optimiser."""
        ...


EncoderConfig = SiameseConfig | ProxyNCAConfig | GraphConfig

ENCODERS: dict[str, type[EncoderConfig]] = {
    "siamese": SiameseConfig,
    "proxynca": ProxyNCAConfig,
    "graph": GraphConfig,
}


def encoder_name(config: EncoderConfig) -> str:
    """The name under which an encoder's configuration is registered."""
    return next(name for name, kind in ENCODERS.items() if isinstance(config, kind))
