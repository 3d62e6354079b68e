"""PAN's loss against slow loops and closed forms; the training loss against the loss of single pairs."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.conditions import Conditions, choose_conditions
from pan_model.model.encoders.proxynca import ProxyNCAEncoder, proxynca_loss
from pan_model.model.pan import Pan
from pan_model.model.similarity import PairSimilarity
from pan_model.training.inputs import FrozenInputs
from pan_model.training.loss import condition_loss, hardest_pairs, pair_losses, pair_weights
from pan_model.training.trainer import new_pan
from pan_model.training.training_loss import TrainingLoss

seeds = st.integers(0, 99)
sizes = st.integers(1, 6)


def randoms(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross_entropy(p: float, y: bool) -> float:
    return -math.log(p if y else 1 - p)


@given(num_pairs=sizes, num_conditions=sizes, seed=seeds)
def test_pair_losses_are_the_cross_entropies_of_the_scores(num_pairs: int, num_conditions: int, seed: int):
    generator = randoms(seed)
    logits, relevance = 3 * torch.randn(2, num_pairs, num_conditions, generator=generator, dtype=torch.float64)
    same = torch.rand(num_pairs, generator=generator) < 0.5
    losses = []
    for pair in range(num_pairs):
        e = [math.exp(x) for x in relevance[pair].tolist()]
        p = sum(e_m / sum(e) * sigmoid(x) for e_m, x in zip(e, logits[pair].tolist(), strict=True))
        losses.append(cross_entropy(p, bool(same[pair])))
    pairs = PairSimilarity(logits, torch.log_softmax(relevance, dim=1))
    assert pair_losses(pairs, same).tolist() == pytest.approx(losses, rel=1e-9)


def test_pair_loss_of_a_confident_mistake_is_its_logit_and_no_infinity():
    pairs = PairSimilarity(torch.tensor([[1000.0], [-1000.0]]), torch.zeros(2, 1))
    assert pair_losses(pairs, torch.tensor([False, True])).tolist() == pytest.approx([1000, 1000])
    assert pair_losses(pairs, torch.tensor([True, False])).tolist() == [0, 0]


labels = st.lists(st.booleans(), min_size=1, max_size=12)


@given(labels=labels, positive_weight=st.floats(0.01, 0.99))
def test_positives_weigh_their_share_together_whatever_their_number(labels: list[bool], positive_weight: float):
    same = torch.tensor(labels)
    weights = pair_weights(same, positive_weight)
    assert weights.sum().item() == pytest.approx(1)
    if same.any() and not same.all():
        assert weights[same].sum().item() == pytest.approx(positive_weight)
        assert weights[same].tolist() == pytest.approx([positive_weight / sum(labels)] * sum(labels))
    else:
        assert weights.tolist() == pytest.approx([1 / len(labels)] * len(labels))
    assert len(weights[~same].unique()) <= 1


@given(num_each=st.integers(1, 50))
def test_as_many_of_both_at_half_the_weight_are_the_papers_plain_mean(num_each: int):
    same = torch.arange(2 * num_each) % 2 == 0
    assert torch.equal(pair_weights(same, 0.5), torch.full((2 * num_each,), 1 / (2 * num_each)))


@given(labels=labels, share=st.floats(0.01, 1), seed=seeds)
def test_hardest_pairs_are_the_largest_losses_of_each_kind(labels: list[bool], share: float, seed: int):
    losses = torch.randperm(len(labels), generator=randoms(seed)).double()
    expected: list[int] = []
    for kind in (True, False):
        places = [place for place, label in enumerate(labels) if label is kind]
        count = min(len(places), max(1, round(share * len(places))))
        expected += sorted(places, key=lambda place: -losses[place].item())[:count]
    assert hardest_pairs(losses, torch.tensor(labels), share).tolist() == sorted(expected)


@given(labels=labels)
def test_the_hardest_of_all_are_all_in_their_order(labels: list[bool]):
    places = hardest_pairs(torch.zeros(len(labels)), torch.tensor(labels), 1.0)
    assert places.tolist() == list(range(len(labels)))


def drawn_conditions(num_pairs: int, num_labelled: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = randoms(seed)
    logits = 3 * torch.randn(num_pairs, num_labelled, generator=generator, dtype=torch.float64)
    targets, certain = torch.rand(2, num_pairs, num_labelled, generator=generator) < 0.5
    return logits, targets, certain


@given(num_pairs=sizes, num_labelled=sizes, seed=seeds)
def test_condition_loss_is_the_masked_mean_of_each_pair(num_pairs: int, num_labelled: int, seed: int):
    logits, targets, certain = drawn_conditions(num_pairs, num_labelled, seed)
    loss = 0.0
    for pair in range(num_pairs):
        total, count = 0.0, 0
        for m in range(num_labelled):
            if certain[pair, m]:
                total += cross_entropy(sigmoid(logits[pair, m].item()), bool(targets[pair, m]))
                count += 1
        loss += total / (count + 1e-6) / num_pairs
    assert condition_loss(logits, targets, certain).item() == pytest.approx(loss, rel=1e-9)


def test_condition_loss_has_the_paper_s_epsilon():
    one = torch.ones(1, 1, dtype=torch.bool)
    loss = condition_loss(torch.zeros(1, 1, dtype=torch.float64), one, one)
    assert loss.item() == pytest.approx(math.log(2) / (1 + 1e-6), rel=1e-12)


@given(num_pairs=sizes, num_labelled=sizes, seed=seeds)
def test_uncertain_conditions_get_exactly_no_gradient_and_certain_ones_some(
    num_pairs: int, num_labelled: int, seed: int
):
    logits, targets, certain = drawn_conditions(num_pairs, num_labelled, seed)
    logits = torch.where(certain, logits, 1e30).requires_grad_()
    condition_loss(logits, targets, certain).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad != 0, certain)


def test_labels_of_uncertain_conditions_play_no_part():
    logits, targets, certain = drawn_conditions(6, 5, 0)
    assert not certain.all()
    flipped = torch.where(certain, targets, ~targets)
    assert condition_loss(logits, targets, certain) == condition_loss(logits, flipped, certain)


def test_pairs_without_a_certain_condition_cost_nothing():
    logits = torch.full((2, 3), 4.0, requires_grad=True)
    loss = condition_loss(logits, torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@given(num_items=sizes, num_classes=st.integers(2, 6), seed=seeds)
def test_proxynca_loss_is_that_of_vectors_of_length_three(num_items: int, num_classes: int, seed: int):
    generator = randoms(seed)
    embeddings = torch.randn(num_items, 4, generator=generator, dtype=torch.float64)
    proxies = torch.randn(num_classes, 4, generator=generator, dtype=torch.float64) / 8
    classes = torch.randint(num_classes, (num_items,), generator=generator)

    def of_length_three(vector: list[float]) -> list[float]:
        return [3 * x / math.hypot(*vector) for x in vector]

    ends = [of_length_three(proxy) for proxy in proxies.tolist()]
    loss = 0.0
    for vector, label in zip(embeddings.tolist(), classes.tolist(), strict=True):
        squares = [math.dist(of_length_three(vector), end) ** 2 for end in ends]
        loss += -math.log(math.exp(-squares[label]) / sum(math.exp(-square) for square in squares)) / num_items
    assert proxynca_loss(embeddings, proxies, classes, 1 / 9).item() == pytest.approx(loss, rel=1e-9, abs=1e-12)


def test_proxynca_temperature_divides_the_squared_distances():
    x, proxies = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])  # squared distances 2 and 4
    for temperature in (0.5, 2.0):
        expected = math.log(1 + math.exp((2 - 4) / temperature))
        assert proxynca_loss(x, proxies, torch.tensor([0]), temperature).item() == pytest.approx(expected, rel=1e-5)


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
    hardest, _ = objective.hardest(inputs, *pairs, share)
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
    whole, embedded = objective.hardest(inputs, *pairs, 0.5)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert embedded is None  # with feature dropout, training embeds differently
    assert torch.equal(objective.hardest(inputs, *pairs, 0.5)[0], whole)
    assert all(weight.grad is None for weight in model.parameters())


def test_embeddings_that_are_the_inputs_are_not_copied(
    make: Make, inputs: FrozenInputs, featured: FeaturedItems, pairs: tuple[Tensor, Tensor, Tensor]
):
    """A kept table and rows that are computed when they are needed give the same losses and gradients."""
    objective, model, _ = make(**LABELLED)
    features = torch.tensor(featured.features).double()

    class Computed:
        def __len__(self) -> int:
            return len(features)

        def __getitem__(self, items: Tensor) -> Tensor:
            return features[items] - 3

    computed = FrozenInputs(features, Computed())
    assert inputs.table is not None
    assert computed.table is None
    results = [objective.losses(of, *pairs, even(pairs[2])) for of in (inputs, computed)]
    gradients = [torch.autograd.grad(losses.total, list(model.similarity.parameters())) for losses in results]
    torch.testing.assert_close(tuple(results[0]), tuple(results[1]))
    torch.testing.assert_close(*gradients)
