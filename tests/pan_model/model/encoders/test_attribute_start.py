"""Where an encoder with predicted attributes starts: against ridge regression by the normal equations of numpy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.model.encoders import siamese
from pan_model.model.encoders.attribute_start import RIDGE, AttributeStart
from pan_model.model.encoders.siamese import Projection, SiameseConfig, SiameseEncoder
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer

Configure = Callable[..., TrialConfig]
NUM_ITEMS, NUM_FEATURES = 60, 12


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, labels of 5 attributes, of which all items have the last, and whether they are certain."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(NUM_ITEMS, NUM_FEATURES, generator=generator)
    labels = features[:, :5] + torch.randn(NUM_ITEMS, 5, generator=generator) > 0
    labels[:, 4] = True
    return features, labels, torch.rand(NUM_ITEMS, 5, generator=generator) < 0.8


def ridge(x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = x.mean(axis=0)
    return np.linalg.inv((x - mean).T @ (x - mean) + RIDGE * np.eye(x.shape[1])) @ (x - mean).T @ targets, mean


def standardised(labels: np.ndarray, certain: np.ndarray) -> np.ndarray:
    share = (labels & certain).sum(axis=0) / certain.sum(axis=0)
    return np.where(certain, labels - share, 0) / np.sqrt(share * (1 - share))


def cosines(values: np.ndarray) -> np.ndarray:
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit @ unit.T


def test_predictions_are_those_of_ridge_regression_in_other_directions():
    features, labels, certain = drawn()
    start = AttributeStart(features, labels, certain, num_directions=NUM_FEATURES)
    unit = nn.functional.normalize(features, dim=1)
    predicted = nn.functional.linear(unit, start.weight, start.bias).numpy()
    x = unit.double().numpy()
    weights, mean = ridge(x, standardised(labels[:, :4].numpy(), certain[:, :4].numpy()))
    np.testing.assert_allclose(cosines(predicted), cosines((x - mean) @ weights), atol=1e-4)
    assert start.weight[4:].abs().max() == 0, "4 attributes differ between items"


def test_held_out_predictions_are_those_of_items_of_other_classes():
    features, labels, certain = drawn()
    classes = np.arange(NUM_ITEMS) // 6  # 10 classes, 2 in each fold
    start = AttributeStart(features, labels, certain, num_directions=NUM_FEATURES)
    held_out = start.held_out(classes, seed=3).numpy()
    x = nn.functional.normalize(features, dim=1).double().numpy()
    targets = standardised(labels[:, :4].numpy(), certain[:, :4].numpy())
    folds = (np.random.default_rng(3).permutation(10) % 5)[classes]
    expected = np.empty((NUM_ITEMS, 4))
    for fold in range(5):
        weights, mean = ridge(x[folds != fold], targets[folds != fold])
        expected[folds == fold] = (x[folds == fold] - mean) @ weights
    np.testing.assert_allclose(cosines(held_out), cosines(expected), atol=1e-4)


def test_few_directions_are_the_leading_ones():
    features, labels, certain = drawn()
    whole, part = (AttributeStart(features, labels, certain, num_directions=number) for number in (4, 2))
    assert torch.equal(part.weight, whole.weight[:2])
    predicted = nn.functional.linear(nn.functional.normalize(features, dim=1), whole.weight, whole.bias)
    sizes = predicted.square().sum(dim=0)
    assert (sizes.diff() <= 0).all()


def test_attributes_that_all_images_share_cannot_be_predicted():
    features, labels, certain = drawn()
    with pytest.raises(UserError, match=r"needs an attribute that 1% to 99% of the training images have, got none"):
        AttributeStart(features, labels[:, 4:], certain[:, 4:], num_directions=3)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_initial_cosine_is_a_weighted_mean_of_that_of_features_and_predictions(
    share: float, featured: FeaturedItems, configure: Configure
):
    task = FewShotTask(featured, seed=0)
    trainer = Trainer(task, configure(projection="attributes", attribute_share=share), torch.device("cpu"))
    encoder = trainer.model.encoder
    assert isinstance(encoder, SiameseEncoder)
    assert encoder.attributes is not None
    items = featured.splits[Split.VAL]
    x = torch.from_numpy(trainer.normalised_features(Split.VAL))
    predicted = encoder.attributes(nn.functional.normalize(x, dim=1)).detach().numpy()
    expected = (1 - share) * cosines(x.numpy()) + share * cosines(predicted)
    np.testing.assert_allclose(cosines(trainer.embed(items).numpy()), expected, atol=1e-4)


def test_the_start_is_that_of_the_training_items_and_training_changes_it(featured: FeaturedItems, configure: Configure):
    task = FewShotTask(featured, seed=0)
    trainer = Trainer(task, configure(projection="attributes", first_weights="distance"), torch.device("cpu"))
    encoder, items = trainer.model.encoder, task.training_items
    assert isinstance(encoder, SiameseEncoder)
    assert encoder.attributes is not None
    before = encoder.attributes.weight.detach().clone()
    start = AttributeStart(
        torch.from_numpy(trainer.normalised_features())[items],
        torch.tensor(featured.attributes[items]),
        torch.tensor(featured.certain[items]),
        num_directions=encoder.attributes.out_features,
    )
    assert torch.equal(before, start.weight)
    trainer.train_epoch()
    assert not torch.equal(encoder.attributes.weight, before)


def test_the_embedding_has_at_most_256_directions_of_attributes(monkeypatch: pytest.MonkeyPatch):
    config = SiameseConfig(projection=Projection.ATTRIBUTES)
    assert config.build(feature_dim=6, num_classes=2).embedding_dim == 12
    monkeypatch.setattr(siamese, "ATTRIBUTE_DIM", 4)
    assert config.build(feature_dim=6, num_classes=2).embedding_dim == 10


def test_a_share_is_that_of_predicted_attributes_alone_and_below_1():
    with pytest.raises(UserError, match=r"projection residual predicts no attributes: leave attribute_share out\."):
        SiameseConfig(projection=Projection.RESIDUAL, attribute_share=0.5)
    for share in (-0.1, 1.0, math.nan):
        with pytest.raises(UserError, match=r"attribute_share must lie in \[0, 1\), got"):
            SiameseConfig(projection=Projection.ATTRIBUTES, attribute_share=share)
