"""The ProxyNCA++ encoder: LayerNorm and a linear embedding, trained with its own loss besides PAN's.

How the reference combines ProxyNCA++ and PAN is not published; we train both losses on one embedding.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pan_model.errors import UserError
from pan_model.shapes import Float, Int


@dataclass(frozen=True, kw_only=True)
class ProxyNCAConfig:
    """The ProxyNCA++ encoder and its loss.

    Attributes:
        embedding_dim: E, the length of an embedding.
        temperature: Divides squared distances of unit vectors.
        proxy_learning_rate_factor: The proxies' learning rate, as a multiple of the model's.
        proxy_loss_weight: The weight of the ProxyNCA++ loss.
    """

    embedding_dim: int
    temperature: float = 1 / 9
    proxy_learning_rate_factor: float = 100.0
    proxy_loss_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.embedding_dim < 1:
            raise UserError(f"embedding_dim must be at least 1, got {self.embedding_dim}.")
        for name in ("temperature", "proxy_learning_rate_factor"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UserError(f"{name} must be a finite number above 0, got {getattr(self, name)}.")
        if not (math.isfinite(self.proxy_loss_weight) and self.proxy_loss_weight >= 0):
            raise UserError(f"proxy_loss_weight must be a finite number of at least 0, got {self.proxy_loss_weight}.")

    def build(self, *, feature_dim: int, num_classes: int) -> "ProxyNCAEncoder":
        """Build the encoder with one proxy for each training class."""
        return ProxyNCAEncoder(self, feature_dim=feature_dim, num_classes=num_classes)


def proxynca_loss(
    embeddings: Float[Tensor, "N E"], proxies: Float[Tensor, "C E"], classes: Int[Tensor, "N"], temperature: float
) -> Float[Tensor, ""]:
    """Return the ProxyNCA++ loss (Teh et al., ECCV 2020): cross-entropy of softmax(-d^2 / T) over all proxies.

    d is the Euclidean distance of L2-normalised vectors. Scaling both by 3, as published, equals T = 1/9.

    Args:
        embeddings: The embeddings of N items.
        proxies: One proxy for each of C classes.
        classes: The class of each item, 0 to C - 1.
        temperature: T.

    >>> x = torch.tensor([[1.0, 0.0]])
    >>> proxies = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    >>> loss = proxynca_loss(x, proxies, torch.tensor([0]), 1.0)  # -log(e^0 / (e^0 + e^-2))
    >>> round(loss.item(), 4)
    0.1269
    """
    cosine = F.normalize(embeddings, dim=1) @ F.normalize(proxies, dim=1).T
    squared_distance = 2 - 2 * cosine
    return F.cross_entropy(-squared_distance / temperature, classes)


class ProxyNCAEncoder(nn.Module):
    """h = Linear(LayerNorm(x)), LayerNorm without affine weights. Initial proxies are randn / 8 (ProxyNCA++)."""

    uses_graph = False

    def __init__(self, config: ProxyNCAConfig, *, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.embedding_dim = config.embedding_dim
        self.norm = nn.LayerNorm(feature_dim, elementwise_affine=False)
        self.embedding = nn.Linear(feature_dim, config.embedding_dim)
        self.proxies = nn.Parameter(torch.randn(num_classes, config.embedding_dim) / 8)

    def forward(self, features: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"] | None = None) -> Float[Tensor, "N E"]:
        """Embed N items."""
        return self.embedding(self.norm(features))

    def keep_distances(self) -> None:
        """Initialise the embedding as a random orthogonal map of the layer-normalised features.

        It preserves distances; if E < D they shrink by sqrt(E / D) on average.
        """
        nn.init.orthogonal_(self.embedding.weight)
        nn.init.zeros_(self.embedding.bias)

    def own_loss(self, embeddings: Float[Tensor, "N E"], classes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """Return the weighted ProxyNCA++ loss of N items."""
        loss = proxynca_loss(embeddings, self.proxies, classes, self.config.temperature)
        return self.config.proxy_loss_weight * loss

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return the embedding at the model's learning rate, and the proxies at their own, without decay."""
        faster = learning_rate * self.config.proxy_learning_rate_factor
        return [
            {"params": list(self.embedding.parameters()), "lr": learning_rate},
            {"params": [self.proxies], "lr": faster, "weight_decay": 0.0, "start_decay": 0.0},
        ]
