import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.conditions import Conditions, choose_conditions
from pan_model.model.encoders.proxynca import ProxyNCAEncoder
from pan_model.model.pan import Pan
from pan_model.training.frozen_inputs import FrozenInputs
from pan_model.training.trainer import new_pan
from pan_model.training.training_loss import TrainingLoss

Configure = Callable[..., TrialConfig]
Make = Callable[..., tuple[TrainingLoss, Pan, Conditions]]
NUM_PAIRS = 24


@pytest.fixture
def pairs(featured: FeaturedItems) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of training items that hold some items more than once, a third of them of one class."""
    generator = np.random.default_rng(0)
    items = featured.splits[Split.TRAIN]
    index = generator.choice(items[:120], size=(2, 400))
    same = featured.classes[index[0]] == featured.classes[index[1]]
    chosen = np.concatenate([np.flatnonzero(same)[: NUM_PAIRS // 3], np.flatnonzero(~same)[: 2 * NUM_PAIRS // 3]])
    index, same = index[:, chosen], same[chosen]
    assert len(np.unique(index)) < index.size
    return torch.from_numpy(index[0]), torch.from_numpy(index[1]), torch.from_numpy(same)


@pytest.fixture
def make(featured: FeaturedItems, configure: Configure) -> Make:
    """Make the objective of a configuration on the training items, and the model that it is of, in double precision."""

    def objective(**changes: Any) -> tuple[TrainingLoss, Pan, Conditions]:
        config = configure(**changes)
        items = featured.items_of((Split.TRAIN,))
        conditions = choose_conditions(
            config.conditions, featured.attributes[items], featured.certain[items], featured.attribute_names
        )
        model = new_pan(config, conditions, feature_dim=featured.feature_dim, num_classes=12).double()
        loss = TrainingLoss(model, conditions, featured, items, config.conditions.lambda_ or 0, torch.device("cpu"))
        return loss, model, conditions

    return objective


@pytest.fixture
def inputs(featured: FeaturedItems) -> FrozenInputs:
    features = torch.tensor(featured.features).double()
    return FrozenInputs(features, features - 3)


def even(same: Tensor) -> Tensor:
    return torch.full(same.shape, 1 / len(same), dtype=torch.float64)


def inputs_of(featured: FeaturedItems, index: Tensor) -> Tensor:
    return torch.tensor(featured.features[index.numpy()]).double() - 3


def slow_scores(model: Pan, featured: FeaturedItems, pairs: tuple[Tensor, Tensor, Tensor]) -> list[float]:
    h1, h2 = (model.encoder(inputs_of(featured, index)) for index in pairs[:2])
    return [model.similarity(one[None], other[None]).score.item() for one, other in zip(h1, h2, strict=True)]


def cross_entropy(p: float, y: bool) -> float:
    return -math.log(p if y else 1 - p)


LABELLED = {"supervision": "hybrid", "gate": "XNOR", "lambda": 0.5, "num_conditions": 6}


@pytest.mark.parametrize("changes", [{}, LABELLED, {"projection": "residual"}, {"encoder": "proxynca"} | LABELLED])
def test_pair_loss_is_the_weighted_sum_of_the_scores_cross_entropies(
    make: Make,
    inputs: FrozenInputs,
    featured: FeaturedItems,
    pairs: tuple[Tensor, Tensor, Tensor],
    changes: dict[str, Any],
):
    objective, model, _ = make(**changes)
    weights = torch.rand(NUM_PAIRS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = slow_scores(model, featured, pairs)
    expected = sum(
        weight * cross_entropy(p, same)
        for weight, p, same in zip(weights.tolist(), scores, pairs[2].tolist(), strict=True)
    )
    assert objective.losses(inputs, *pairs, weights).pairs.item() == pytest.approx(expected, rel=1e-6)


def test_condition_loss_is_the_mean_over_pairs_of_the_labels_that_both_items_have(
    make: Make, inputs: FrozenInputs, featured: FeaturedItems, pairs: tuple[Tensor, Tensor, Tensor]
):
    objective, model, conditions = make(**LABELLED)
    h1, h2 = (model.encoder(inputs_of(featured, index)) for index in pairs[:2])
    s = model.similarity(h1, h2).similarity.tolist()
    expected = 0.0
    for pair, (one, other) in enumerate(zip(pairs[0].tolist(), pairs[1].tolist(), strict=True)):
        of_pair = [
            cross_entropy(s[pair][m], featured.attributes[one, a] == featured.attributes[other, a])
            for m, a in enumerate(conditions.attribute_index.tolist())
            if featured.certain[one, a] and featured.certain[other, a]
        ]
        expected += sum(of_pair) / (len(of_pair) + 1e-6) / NUM_PAIRS
    # the pairs' weights play no part in it
    for weights in (even(pairs[2]), torch.arange(NUM_PAIRS, dtype=torch.float64)):
        assert objective.losses(inputs, *pairs, weights).conditions.item() == pytest.approx(expected, rel=1e-6)


def test_encoder_loss_is_the_mean_over_the_items_each_taken_once(
    make: Make, inputs: FrozenInputs, featured: FeaturedItems, pairs: tuple[Tensor, Tensor, Tensor]
):
    objective, model, _ = make(encoder="proxynca", temperature=0.5, proxy_loss_weight=2.0)
    assert isinstance(model.encoder, ProxyNCAEncoder)
    items = sorted({*pairs[0].tolist(), *pairs[1].tolist()})
    embeddings = model.encoder(inputs_of(featured, torch.tensor(items)))
    losses = []
    for item, h in zip(items, embeddings, strict=True):
        exponents = [
            -(torch.dist(h / h.norm(), proxy / proxy.norm()).item() ** 2) / 0.5 for proxy in model.encoder.proxies
        ]
        label = featured.classes[item] // 2  # of the training classes 0, 2, 4, ..
        losses.append(-math.log(math.exp(exponents[label]) / sum(math.exp(x) for x in exponents)))
    assert objective.losses(inputs, *pairs, even(pairs[2])).encoder.item() == pytest.approx(
        2 * sum(losses) / len(losses)
    )


def test_total_is_the_pairs_plus_lambda_times_the_conditions_plus_the_encoders(
    make: Make, inputs: FrozenInputs, pairs: tuple[Tensor, Tensor, Tensor]
):
    total, of_pairs, of_conditions, of_encoder = make(encoder="proxynca", **LABELLED)[0].losses(
        inputs, *pairs, even(pairs[2])
    )
    assert total.item() == pytest.approx((of_pairs + 0.5 * of_conditions + of_encoder).item())
    assert min(of_pairs, of_conditions, of_encoder) > 0


def test_without_labels_and_own_loss_there_is_the_pair_loss_alone(
    make: Make, inputs: FrozenInputs, pairs: tuple[Tensor, Tensor, Tensor]
):
    losses = make()[0].losses(inputs, *pairs, even(pairs[2]))
    assert losses.conditions == losses.encoder == 0
    assert losses.total == losses.pairs


def test_feature_dropout_falls_on_an_item_once_however_often_it_occurs(
    make: Make, inputs: FrozenInputs, pairs: tuple[Tensor, Tensor, Tensor]
):
    """A pair of an item with itself has distance 0 under any dropout, since the item is embedded once."""
    objective, model, _ = make(feature_dropout=0.5)
    item, _, same = pairs
    loss = objective.losses(inputs, item, item, torch.ones_like(same), even(same)).pairs.item()
    zero = model.similarity(torch.zeros(1, 16).double(), torch.zeros(1, 16).double())
    assert loss == pytest.approx(-zero.log_score.item())
    losses = {objective.losses(inputs, *pairs, even(same)).pairs.item() for _ in range(5)}
    assert len(losses) == 5


@pytest.mark.parametrize("share", [0.05, 0.4, 1.0])
def test_hardest_are_the_worst_scored_positives_and_negatives(
    make: Make, inputs: FrozenInputs, featured: FeaturedItems, pairs: tuple[Tensor, Tensor, Tensor], share: float
):
    objective, model, _ = make(dropout=0.5, feature_dropout=0.5, condition_dropout=0.5)
    hardest = objective.hardest(inputs, *pairs, share, 1000)
    scores = slow_scores(model.eval(), featured, pairs)
    positives = [place for place, same in enumerate(pairs[2].tolist()) if same]
    negatives = [place for place, same in enumerate(pairs[2].tolist()) if not same]
    worst_positives = sorted(positives, key=lambda place: scores[place])[: max(1, round(share * len(positives)))]
    worst_negatives = sorted(negatives, key=lambda place: -scores[place])[: max(1, round(share * len(negatives)))]
    assert hardest.tolist() == sorted(worst_positives + worst_negatives)


def test_looking_for_the_hardest_leaves_training_mode_and_random_numbers_as_they_were(
    make: Make, inputs: FrozenInputs, pairs: tuple[Tensor, Tensor, Tensor]
):
    objective, model, _ = make(dropout=0.5, feature_dropout=0.5, condition_dropout=0.5)
    state = torch.get_rng_state()
    whole = objective.hardest(inputs, *pairs, 0.5, 1000)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert torch.equal(objective.hardest(inputs, *pairs, 0.5, 5), whole)
    assert all(weight.grad is None for weight in model.parameters())
