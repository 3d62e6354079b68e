import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pan_model.model.encoders.proxynca import proxynca_loss
from pan_model.model.similarity import PairSimilarity
from pan_model.training.losses import condition_loss, hardest_pairs, pair_losses, pair_weights

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
