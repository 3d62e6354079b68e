"""The siamese encoder: one network for both images, here the backbone's features as they are."""

from dataclasses import dataclass

from torch import Tensor, nn

from pan_model.shapes import Float, Int


@dataclass(frozen=True, kw_only=True)
class SiameseConfig:
    """Nothing to choose: the embedding is the (normalised) feature vector."""

    def build(self, *, feature_dim: int, num_classes: int) -> "SiameseEncoder":
        """Make the encoder; num_classes plays no part."""
        return SiameseEncoder(feature_dim)


class SiameseEncoder(nn.Module):
    """h = x, without weights and without a loss of its own."""

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.embedding_dim = feature_dim

    def forward(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Hand the features on."""
        return features

    def own_loss(self, embeddings: Float[Tensor, "N D"], classes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """Zero: the siamese encoder learns nothing."""
        return embeddings.new_zeros(())

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """No weights, no groups."""
        return []
