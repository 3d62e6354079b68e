"""What makes a step: whole triplets, or classes and images of each; and what its loss is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pan_model.model.encoders.proxynca import proxynca_loss
from pan_model.training.backbone.config import BackboneTraining, default_training
from pan_model.training.backbone.objectives import BackboneObjective, ProxyObjective, TripletObjective, build_objective
from pan_model.training.backbone.triplets import Groups, triplet_loss

CLASSES = np.array([5, 5, 5, 5, 9, 9, 7, 7, 7, 7, 7, 2])  # a class of two, and one of a single image
GROUPS = Groups(np.arange(12), CLASSES)
SIAMESE = replace(default_training(BackboneTraining.SIAMESE), batch_size=4)
PROXYNCA = replace(default_training(BackboneTraining.PROXYNCA), batch_size=6, images_per_class=3, embedding_dim=4)


@pytest.mark.parametrize(("config", "kind"), [(SIAMESE, TripletObjective), (PROXYNCA, ProxyObjective)])
def test_built_by_kind(config: object, kind: type) -> None:
    objective = build_objective(GROUPS, config, 8)
    assert isinstance(objective, kind)
    assert isinstance(objective, BackboneObjective)


def test_steps_of_triplets_are_nearly_equal() -> None:
    steps = TripletObjective(GROUPS, SIAMESE).draw_steps(np.random.default_rng(0))
    assert [len(step) for step in steps] == [12, 12, 9]  # 11 anchors have a partner
    anchors, positives, negatives = np.concatenate(steps).reshape(-1, 3).T
    assert sorted(anchors.tolist()) == list(range(11))
    assert (CLASSES[anchors] == CLASSES[positives]).all()
    assert (CLASSES[anchors] != CLASSES[negatives]).all()


def test_loss_of_triplets_takes_rows_in_threes() -> None:
    features = torch.randn(6, 8)
    loss = TripletObjective(GROUPS, SIAMESE).loss(features, np.arange(6))
    assert torch.equal(loss, triplet_loss(features[[0, 3]], features[[1, 4]], features[[2, 5]], 0.2))


def test_steps_of_proxies_are_balanced_and_survive_small_classes() -> None:
    objective = ProxyObjective(GROUPS, PROXYNCA, feature_dim=8)
    steps = [step for seed in range(20) for step in objective.draw_steps(np.random.default_rng(seed))]
    assert len(steps) == 20 * 2
    seen = set[int]()
    for step in steps:
        assert len(set(step.tolist())) == len(step)
        labels, counts = np.unique(CLASSES[step], return_counts=True)
        assert len(labels) == 2
        assert counts.tolist() == [min(3, int((label == CLASSES).sum())) for label in labels]
        seen |= set(step.tolist())
    assert seen == set(range(12))


def test_loss_of_proxies_is_that_of_the_encoder() -> None:
    objective = ProxyObjective(GROUPS, PROXYNCA, feature_dim=8)
    assert objective.head.proxies.shape == (4, 4)
    features, items = torch.randn(3, 8), np.array([11, 0, 6])
    normed = torch.nn.functional.layer_norm(features, (8,))
    embeddings = normed @ objective.head.embedding.weight.T + objective.head.embedding.bias
    expected = proxynca_loss(embeddings, objective.head.proxies, torch.tensor([0, 1, 2]), 1 / 9)
    torch.testing.assert_close(objective.loss(features, items), expected)


def test_proxies_learn_faster() -> None:
    embedding, proxies = ProxyObjective(GROUPS, PROXYNCA, feature_dim=8).parameter_groups(1e-4)
    assert embedding["lr"] == 1e-4
    assert proxies["lr"] == pytest.approx(1e-2)
    assert TripletObjective(GROUPS, SIAMESE).parameter_groups(1e-4) == []
