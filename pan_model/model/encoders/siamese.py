"""The siamese encoder: one network for both images, the identity or linear maps of the features."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from pan_model.errors import UserError
from pan_model.shapes import Float, Int


class Projection(StrEnum):
    """none: h = x. residual: h = x + A x with A initially 0, so that weight decay pulls towards the features.

    attributes: h = [sqrt(1 - w) (x + A x), sqrt(w) |x| z / |z|] with the attribute_share w and z = V x / |x| + v, which
    predicts the attributes at the start. The cosine of two items is then 1 - w times that of the features, plus w times
    that of the predictions.
    """

    NONE = "none"
    RESIDUAL = "residual"
    ATTRIBUTES = "attributes"


ATTRIBUTE_SHARE = 0.3
ATTRIBUTE_DIM = 256
"""K, the most directions of predicted attributes in an embedding; no more than there are features."""


@dataclass(frozen=True, kw_only=True)
class SiameseConfig:
    """The projection from (normalised) features to the embedding.

    Attributes:
        projection: The kind of projection.
        attribute_share: The share w of predicted attributes in the initial cosine of two items, by default 0.3. None
            for other projections.
    """

    projection: Projection = Projection.NONE
    attribute_share: float | None = None

    def __post_init__(self) -> None:
        share = self.attribute_share
        if share is not None and self.projection is not Projection.ATTRIBUTES:
            raise UserError(f"projection {self.projection} predicts no attributes: leave attribute_share out.")
        if share is not None and not 0 <= share < 1:
            raise UserError(f"attribute_share must lie in [0, 1), got {share}.")

    def build(self, *, feature_dim: int, num_classes: int) -> "SiameseEncoder":
        """Build the encoder. `num_classes` is not used."""
        return SiameseEncoder(self, feature_dim)


class SiameseEncoder(nn.Module):
    """h = x, h = x + A x, or the latter with predicted attributes, without an own loss.

    Attributes:
        projection: A, if there is one.
        attributes: V and v, which map features of length 1 to K directions of attributes, if they are predicted. The
            trainer sets their initial weights, see `pan_model.model.encoders.attribute_start`.
    """

    uses_graph = False

    def __init__(self, config: SiameseConfig, feature_dim: int) -> None:
        super().__init__()
        self.embedding_dim = feature_dim
        self.projection = self.attributes = None
        if config.projection is not Projection.NONE:
            self.projection = nn.Linear(feature_dim, feature_dim, bias=False)
            nn.init.zeros_(self.projection.weight)
        if config.projection is Projection.ATTRIBUTES:
            share = ATTRIBUTE_SHARE if config.attribute_share is None else config.attribute_share
            self._sizes = (1 - share) ** 0.5, share**0.5
            self.attributes = nn.Linear(feature_dim, min(feature_dim, ATTRIBUTE_DIM))
            self.embedding_dim += self.attributes.out_features

    def forward(self, features: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"] | None = None) -> Float[Tensor, "N E"]:
        """Embed N items."""
        if self.projection is None:
            return features
        projected = features + self.projection(features)
        if self.attributes is None:
            return projected
        return self.join(features, projected, self.attributes(nn.functional.normalize(features, dim=1)))

    def join(
        self, features: Float[Tensor, "N D"], projected: Float[Tensor, "N D"], predicted: Float[Tensor, "N K"]
    ) -> Float[Tensor, "N E"]:
        """Return the embeddings from projected features and predicted attributes."""
        of_features, of_attributes = self._sizes
        directions = nn.functional.normalize(predicted, dim=1) * features.norm(dim=1, keepdim=True)
        return torch.cat([of_features * projected, of_attributes * directions], dim=1)

    def keep_distances(self) -> None:
        """Do nothing: the encoder is initially the identity, next to predicted attributes."""

    def own_loss(self, embeddings: Float[Tensor, "N E"], classes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """Return 0: the encoder has no own loss."""
        return embeddings.new_zeros(())

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return A, V and v as a parameter group, or no groups without a projection."""
        weights = list(self.parameters())
        return [{"params": weights, "lr": learning_rate}] if weights else []
