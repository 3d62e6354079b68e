"""The siamese encoder: one network for both images, the identity or a linear map of the features."""

from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor, nn

from pan_model.shapes import Float, Int


class Projection(StrEnum):
    """none: h = x. residual: h = x + A x with A initially 0, so that weight decay pulls towards the features."""

    NONE = "none"
    RESIDUAL = "residual"


@dataclass(frozen=True, kw_only=True)
class SiameseConfig:
    """The projection from (normalised) features to the embedding."""

    projection: Projection = Projection.NONE

    def build(self, *, feature_dim: int, num_classes: int) -> "SiameseEncoder":
        """Build the encoder. `num_classes` is not used."""
        return SiameseEncoder(self, feature_dim)


class SiameseEncoder(nn.Module):
    """h = x or h = x + A x, without an own loss."""

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
        """Do nothing: the encoder is initially the identity."""

    def own_loss(self, embeddings: Float[Tensor, "N D"], classes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """Return 0: the encoder has no own loss."""
        return embeddings.new_zeros(())

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return A as a parameter group, or no groups without a projection."""
        weights = list(self.parameters())
        return [{"params": weights, "lr": learning_rate}] if weights else []
