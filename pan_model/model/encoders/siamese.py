"""The siamese encoder: one network for both images, here the backbone's features, mapped linearly or as they are."""

from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor, nn

from pan_model.shapes import Float, Int


class Projection(StrEnum):
    """none: h = x. residual: h = x + A x, where A starts at 0, so that decaying it leads back to the features."""

    NONE = "none"
    RESIDUAL = "residual"


@dataclass(frozen=True, kw_only=True)
class SiameseConfig:
    """Whether the (normalised) features are the embedding, or are mapped to it by a trained matrix."""

    projection: Projection = Projection.NONE

    def build(self, *, feature_dim: int, num_classes: int) -> "SiameseEncoder":
        """Make the encoder; num_classes plays no part."""
        return SiameseEncoder(self, feature_dim)


class SiameseEncoder(nn.Module):
    """h = x or h = x + A x, without a loss of its own."""

    uses_graph = False

    def __init__(self, config: SiameseConfig, feature_dim: int) -> None:
        super().__init__()
        self.embedding_dim = feature_dim
        self.projection = None
        if config.projection is Projection.RESIDUAL:
            self.projection = nn.Linear(feature_dim, feature_dim, bias=False)
            nn.init.zeros_(self.projection.weight)

    def forward(self, features: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"] | None = None) -> Float[Tensor, "N D"]:
        """Embed N items."""
        return features if self.projection is None else features + self.projection(features)

    def keep_distances(self) -> None:
        """Nothing to do: it starts as the identity."""

    def own_loss(self, embeddings: Float[Tensor, "N D"], classes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """Zero: it learns from the pairs alone."""
        return embeddings.new_zeros(())

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """A, where there is one."""
        weights = list(self.parameters())
        return [{"params": weights, "lr": learning_rate}] if weights else []
