"""Graphs of items: undirected edges, each listed once, and the mean over an item's neighbourhood."""

import numpy as np
import torch
from torch import Tensor

from pan_model.shapes import Float, Int


def unique_edges(pairs: Int[np.ndarray, "2 P"]) -> Int[np.ndarray, "2 L"]:
    """Return pairs of items as undirected edges: each once, the smaller index first, without loops.

    >>> unique_edges(np.array([[3, 1, 1, 2], [1, 3, 1, 0]])).tolist()
    [[0, 1], [2, 3]]
    """
    ends = np.sort(pairs[:, pairs[0] != pairs[1]], axis=0)
    return np.unique(ends, axis=1)


def neighbour_mean(values: Float[Tensor, "N D"], edges: Int[Tensor, "2 L"]) -> Float[Tensor, "N D"]:
    """Return D^-1 (A + I) X, the mean of an item's row and its neighbours' rows (support of degree 1; Cucurull et al.).

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
    """Drop edges at random, using torch's generator.

    Args:
        edges: The edges, as pairs of items.
        num_items: N, the number of items.
        edge_dropout: The probability of dropping an edge.
        support_dropout: The probability of dropping all edges of an item.
    """
    if edges.shape[1] == 0 or edge_dropout == support_dropout == 0:
        return edges
    kept = torch.rand(edges.shape[1], device=edges.device) >= edge_dropout
    isolated = torch.rand(num_items, device=edges.device) < support_dropout
    return edges[:, kept & ~isolated[edges].any(dim=0)]
