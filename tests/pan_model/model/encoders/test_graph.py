"""The graph encoder: its formula, who hears whom, and what training drops."""

import pytest
import torch
from torch import Tensor, nn

from pan_model.errors import UserError
from pan_model.model.encoders.graph import GraphConfig, GraphEncoder

EDGES = torch.tensor([[0, 1, 4], [1, 2, 5]])
"""0 - 1 - 2, 4 - 5; 3 is alone."""


@pytest.fixture
def features() -> Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


def build(**values: float) -> GraphEncoder:
    torch.manual_seed(1)
    encoder = GraphConfig(**{"graph_layers": 2, "graph_width": 7, **values}).build(feature_dim=5, num_classes=3)
    return encoder.eval()


def test_a_layer_is_its_formula(features: Tensor):
    encoder = build(graph_layers=1)
    (layer,) = encoder.layers
    support = torch.eye(6)
    for one, other in EDGES.T.tolist():
        support[one, other] = support[other, one] = 1
    support = support / support.sum(dim=1, keepdim=True)
    hidden = (features @ layer.own.weight.T + support @ features @ layer.neighbours.weight.T).relu()
    torch.testing.assert_close(encoder(features, EDGES), hidden / (1 + layer.norm.eps) ** 0.5)


@pytest.mark.parametrize(("num_layers", "hears"), [(1, [0, 1]), (2, [0, 1, 2])])
def test_an_item_hears_of_as_many_steps_as_there_are_layers(features: Tensor, num_layers: int, hears: list[int]):
    encoder = build(graph_layers=num_layers)
    features.requires_grad_()
    encoder(features, EDGES)[0].sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum(dim=1).nonzero().flatten().tolist() == hears


def test_without_edges_every_item_is_alone(features: Tensor):
    encoder = build()
    none = torch.empty(2, 0, dtype=torch.int64)
    torch.testing.assert_close(encoder(features), encoder(features, none))
    torch.testing.assert_close(encoder(features)[3], encoder(features, EDGES)[3])
    assert not torch.allclose(encoder(features)[0], encoder(features, EDGES)[0])


def test_graphs_beside_one_another_do_not_meet(features: Tensor):
    encoder = build()
    both = encoder(torch.cat([features, -features]), torch.cat([EDGES, EDGES + 6], dim=1))
    torch.testing.assert_close(both, torch.cat([encoder(features, EDGES), encoder(-features, EDGES)]))


@pytest.mark.parametrize("dropped", [{"edge_dropout": 0.999}, {"support_dropout": 0.999}])
def test_edges_are_dropped_in_training_alone(features: Tensor, dropped: dict[str, float]):
    encoder = build(layer_dropout=0.0, **{"edge_dropout": 0.0, "support_dropout": 0.0, **dropped})
    evaluated = encoder(features, EDGES)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 0.0
    encoder.train()
    torch.testing.assert_close(encoder(features, EDGES), encoder(features))
    torch.testing.assert_close(encoder.eval()(features, EDGES), evaluated)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"graph_context": -1}, "graph_context must be at least 0, got -1"),
        ({"graph_layers": 0}, "graph_layers must be at least 1, got 0"),
        ({"graph_width": 0}, "graph_width must be at least 1, got 0"),
        ({"layer_dropout": 1.0}, r"layer_dropout must lie in \[0, 1\), got 1"),
        ({"support_dropout": -0.1}, r"support_dropout must lie in \[0, 1\), got -0.1"),
        ({"edge_dropout": float("nan")}, r"edge_dropout must lie in \[0, 1\), got nan"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, float], message: str):
    with pytest.raises(UserError, match=message):
        GraphConfig(**values)
