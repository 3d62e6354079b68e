"""Graphs of items: undirected edges, each listed once, and what an item hears of its neighbours."""

import numpy as np
import torch
from torch import Tensor

from pan_model.shapes import Float, Int


def unique_edges(pairs: Int[np.ndarray, "2 P"]) -> Int[np.ndarray, "2 L"]:
    """Pairs of items as undirected edges: each once, the smaller index first, no item beside itself.

    >>> unique_edges(np.array([[3, 1, 1, 2], [1, 3, 1, 0]])).tolist()
    [[0, 1], [2, 3]]
    """
    ends = np.sort(pairs[:, pairs[0] != pairs[1]], axis=0)
    return np.unique(ends, axis=1)


def neighbour_mean(values: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"]) -> Float[Tensor, "N D"]:
    """D^-1 (A + I) X: the mean of an item's row and those of its neighbours (support of degree 1; Cucurull et al.).

    >>> neighbour_mean(torch.tensor([[0.0], [2.0], [7.0]]), torch.tensor([[0], [1]])).tolist()
    [[1.0], [1.0], [7.0]]
    """
    into, of = torch.cat([edges, edges.flip(0)], dim=1)
    sums = values.index_add(0, into, values[of])
    degrees = 1 + torch.bincount(into, minlength=len(values))
    return sums / degrees[:, None]


def drop_edges(
    edges: Int[Tensor, "2 L"], num_items: int, *, edge_dropout: float, support_dropout: float
) -> Int[Tensor, "2 K"]:
    """Drop edges at random, and all edges of items that are isolated at random; takes torch's random numbers."""
    if edges.shape[1] == 0 or edge_dropout == support_dropout == 0:
        return edges
    kept = torch.rand(edges.shape[1], device=edges.device) >= edge_dropout
    isolated = torch.rand(num_items, device=edges.device) < support_dropout
    return edges[:, kept & ~isolated[edges].any(dim=0)]
