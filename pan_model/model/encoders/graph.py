"""The graph encoder: graph convolutions over an item's neighbours (Cucurull et al., CVPR 2019, as used by PAN)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pan_model.errors import UserError
from pan_model.model.graph import drop_edges, neighbour_mean
from pan_model.shapes import Float, Int


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """The graph encoder.

    The paper uses 2 x 200 on Polyvore Outfits with edge_dropout 0.15, and 3 x 350 in its graph baseline on CUB, both
    with support_dropout 0.15.

    Attributes:
        graph_layers: The number of layers.
        graph_width: E, the width of each layer.
        layer_dropout: The share of a layer's inputs that is dropped in training.
        support_dropout: The probability of dropping all edges of an item in training.
        edge_dropout: The probability of dropping an edge in training.
        graph_context: The most edges around each item of a question's set that evaluation may use; None if the task
            has no such edges.
    """

    graph_layers: int = 2
    graph_width: int = 200
    layer_dropout: float = 0.5
    support_dropout: float = 0.15
    edge_dropout: float = 0.0
    graph_context: int | None = None

    def __post_init__(self) -> None:
        if self.graph_context is not None and self.graph_context < 0:
            raise UserError(f"graph_context must be at least 0, got {self.graph_context}.")
        for name in ("graph_layers", "graph_width"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("layer_dropout", "support_dropout", "edge_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} must lie in [0, 1), got {getattr(self, name)}.")

    def build(self, *, feature_dim: int, num_classes: int) -> "GraphEncoder":
        """Build the encoder. `num_classes` is not used."""
        return GraphEncoder(self, feature_dim)


class GraphLayer(nn.Module):
    """BatchNorm(ReLU(X W_0 + D^-1 (A + I) X W_1)), X with dropout (PAN's reference; supports of degrees 0 and 1)."""

    def __init__(self, inputs_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.own = nn.Linear(inputs_dim, width, bias=False)
        self.neighbours = nn.Linear(inputs_dim, width, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, inputs: Float[Tensor, "N I"], edges: Int[Tensor, "2 L"]) -> Float[Tensor, "N W"]:
        """Compute one graph convolution."""
        inputs = self.dropout(inputs)
        return self.norm(F.relu(self.own(inputs) + neighbour_mean(self.neighbours(inputs), edges)))


class GraphEncoder(nn.Module):
    """Graph convolutions over N items; without edges an item's embedding depends on the item alone."""

    uses_graph = True

    def __init__(self, config: GraphConfig, feature_dim: int) -> None:
        super().__init__()
        self.config = config
        self.embedding_dim = config.graph_width
        widths = [feature_dim] + [config.graph_width] * config.graph_layers
        self.layers = nn.ModuleList(
            GraphLayer(before, after, config.layer_dropout) for before, after in pairwise(widths)
        )

    def forward(self, features: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"] | None = None) -> Float[Tensor, "N W"]:
        """Embed N items; edges are pairs of rows. In training mode each layer drops other edges."""
        if edges is None:
            edges = torch.empty(2, 0, dtype=torch.int64, device=features.device)
        hidden = features
        for layer in self.layers:
            hidden = layer(hidden, self._dropped(edges, len(features)))
        return hidden

    def keep_distances(self) -> None:
        """Raise UserError: rectified layers do not preserve distances."""
        raise UserError(
            "first_weights distance needs an encoder that keeps distances; with encoder graph choose xavier."
        )

    def own_loss(self, embeddings: Float[Tensor, "N W"], classes: Int[Tensor, "N"]) -> Float[Tensor, ""]:
        """Return 0: the encoder has no own loss."""
        return embeddings.new_zeros(())

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return all weights at the model's learning rate."""
        return [{"params": list(self.parameters()), "lr": learning_rate}]

    def _dropped(self, edges: Int[Tensor, "2 L"], num_items: int) -> Int[Tensor, "2 K"]:
        if not self.training:
            return edges
        return drop_edges(
            edges,
            num_items,
            edge_dropout=self.config.edge_dropout,
            support_dropout=self.config.support_dropout,
        )
