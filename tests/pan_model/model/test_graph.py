"""Edges and neighbours, against dense matrices."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pan_model.model.graph import drop_edges, neighbour_mean, unique_edges

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20).map(
    lambda drawn: np.array(drawn, dtype=np.int64).reshape(-1, 2).T
)


@given(pairs)
def test_every_edge_is_listed_once_without_loops(drawn: np.ndarray):
    edges = unique_edges(drawn)
    expected = sorted({(min(pair), max(pair)) for pair in drawn.T.tolist() if pair[0] != pair[1]})
    assert [tuple(edge) for edge in edges.T.tolist()] == expected


@given(pairs)
def test_neighbours_mean_is_that_of_the_dense_support(drawn: np.ndarray):
    edges = torch.from_numpy(unique_edges(drawn))
    adjacency = torch.eye(7, dtype=torch.float64)
    for one, other in edges.T.tolist():
        adjacency[one, other] = adjacency[other, one] = 1
    values = torch.linspace(-1, 1, 21, dtype=torch.float64).reshape(7, 3) ** 3
    expected = adjacency / adjacency.sum(dim=1, keepdim=True) @ values
    torch.testing.assert_close(neighbour_mean(values, edges), expected)


def test_shares_of_edges_and_of_items_are_dropped():
    ring = torch.stack([torch.arange(20000), torch.arange(1, 20001) % 20000])
    torch.manual_seed(0)
    some = drop_edges(ring, 20000, edge_dropout=0.25, support_dropout=0.0)
    assert some.shape[1] / 20000 == pytest.approx(0.75, abs=0.02)
    isolating = drop_edges(ring, 20000, edge_dropout=0.0, support_dropout=0.2)
    assert isolating.shape[1] / 20000 == pytest.approx(0.8**2, abs=0.02), "both ends must stay"
    assert torch.equal(drop_edges(ring, 20000, edge_dropout=0.0, support_dropout=0.0), ring)
