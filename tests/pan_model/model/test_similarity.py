import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pan_model.errors import UserError
from pan_model.model.similarity import (
    ConditionSimilarity,
    FirstWeights,
    Joint,
    PairSimilarity,
    SimilarityConfig,
    joint_representation,
)


def module(joint: Joint, num_conditions: int, seed: int = 0, scale: float = 1.0) -> ConditionSimilarity:
    """A module over 5 features whose weights and biases are all random, times a scale."""
    generator = torch.Generator().manual_seed(seed)
    similarity = ConditionSimilarity(SimilarityConfig(joint=joint), embedding_dim=5, num_conditions=num_conditions)
    for parameter in similarity.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return similarity.eval()


def embeddings(num_pairs: int, seed: int = 1, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(num_pairs, 5, generator=generator), scale * torch.randn(
        num_pairs, 5, generator=generator
    )


def slow_joint(h1: list[float], h2: list[float], joint: Joint) -> list[float]:
    """What the conditions see; the product of unit vectors is multiplied by their width."""
    if joint is Joint.ABSDIFF:
        return [abs(a - b) for a, b in zip(h1, h2, strict=True)]
    if joint is Joint.PRODUCT:
        return [len(h1) * a / math.hypot(*h1) * b / math.hypot(*h2) for a, b in zip(h1, h2, strict=True)]
    return [*h1, *h2]


def slow_layer(layer: torch.nn.Linear, j: list[float]) -> list[float]:
    rows, biases = layer.weight.tolist(), layer.bias.tolist()
    return [sum(w * x for w, x in zip(row, j, strict=True)) + b for row, b in zip(rows, biases, strict=True)]


@pytest.mark.parametrize("joint", Joint)
@pytest.mark.parametrize("num_conditions", [1, 7])
def test_score_is_the_relevance_weighted_sum_of_similarities(joint: Joint, num_conditions: int):
    similarity = module(joint, num_conditions)
    h1, h2 = embeddings(6)
    pairs = similarity(h1, h2)
    for pair in range(6):
        j = slow_joint(h1[pair].tolist(), h2[pair].tolist(), joint)
        s = [1 / (1 + math.exp(-x)) for x in slow_layer(similarity.similarity, j)]
        e = [math.exp(x) for x in slow_layer(similarity.relevance, j)]
        r = [x / sum(e) for x in e]
        p = sum(r_m * s_m for r_m, s_m in zip(r, s, strict=True))
        assert pairs.similarity[pair].tolist() == pytest.approx(s, rel=1e-5)
        assert pairs.relevance[pair].tolist() == pytest.approx(r, rel=1e-5)
        assert pairs.score[pair].item() == pytest.approx(p, rel=1e-5)
        assert pairs.log_score[pair].item() == pytest.approx(math.log(p), rel=1e-4, abs=1e-6)
        assert pairs.log_complement[pair].item() == pytest.approx(math.log(1 - p), rel=1e-4, abs=1e-6)
        assert pairs.log_odds[pair].item() == pytest.approx(math.log(p / (1 - p)), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("joint", Joint)
def test_one_condition_is_a_plain_pairwise_decoder(joint: Joint):
    pairs = module(joint, 1)(*embeddings(6))
    assert torch.equal(pairs.score, pairs.similarity[:, 0])
    assert torch.equal(pairs.relevance, torch.ones(6, 1))


scales = st.sampled_from([0.0, 1e-6, 1.0, 30.0, 1e4, 1e12])


@given(
    joint=st.sampled_from(Joint), num_conditions=st.integers(1, 9), seed=st.integers(0, 99), weights=scales, h=scales
)
def test_module_is_bounded_whatever_its_weights(joint: Joint, num_conditions: int, seed: int, weights: float, h: float):
    pairs = module(joint, num_conditions, seed, weights)(*embeddings(4, seed + 1, h))
    for bounded in (pairs.score, pairs.similarity, pairs.relevance):
        assert ((bounded >= 0) & (bounded <= 1)).all()
    assert pairs.relevance.sum(dim=1).tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    for logarithm in (pairs.log_score, pairs.log_complement):
        assert logarithm.isfinite().all()
        assert (logarithm <= 1e-6).all()
    assert pairs.log_odds.isfinite().all()


@given(
    joint=st.sampled_from([joint for joint in Joint if joint.symmetric]),
    num_conditions=st.integers(1, 9),
    seed=st.integers(0, 99),
    weights=scales,
)
def test_symmetric_joints_ignore_the_order_of_a_pair(joint: Joint, num_conditions: int, seed: int, weights: float):
    similarity = module(joint, num_conditions, seed, weights)
    h1, h2 = embeddings(4, seed + 1)
    one, other = similarity(h1, h2), similarity(h2, h1)
    assert torch.equal(one.score, other.score)
    assert torch.equal(one.similarity_logits, other.similarity_logits)
    assert torch.equal(one.log_relevance, other.log_relevance)


def test_only_concat_depends_on_the_order_of_a_pair():
    assert [joint for joint in Joint if not joint.symmetric] == [Joint.CONCAT]
    similarity = module(Joint.CONCAT, 3)
    h1, h2 = embeddings(4)
    assert not torch.allclose(similarity(h1, h2).score, similarity(h2, h1).score)


@pytest.mark.parametrize("joint", Joint)
def test_a_pair_of_zero_embeddings_has_a_score_and_a_gradient(joint: Joint):
    zero = torch.zeros(1, 5, requires_grad=True)
    pairs = module(joint, 3)(zero, zero)
    pairs.log_score.sum().backward()
    assert pairs.score.isfinite().all()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def test_product_of_embeddings_ignores_their_length():
    h1, h2 = embeddings(4)
    torch.testing.assert_close(
        joint_representation(h1, h2, Joint.PRODUCT), joint_representation(7 * h1, h2 / 3, Joint.PRODUCT)
    )


@pytest.mark.parametrize("joint", Joint)
def test_entries_of_a_joint_are_of_the_same_size_however_wide_the_embedding(joint: Joint):
    for embedding_dim in (16, 1024):
        h1, h2 = torch.randn(2, 300, embedding_dim, generator=torch.Generator().manual_seed(0))
        similarity = ConditionSimilarity(SimilarityConfig(joint=joint), embedding_dim=embedding_dim, num_conditions=1)
        assert similarity.represent(h1, h2).square().mean().sqrt().item() == pytest.approx(1.2, abs=0.3)


def test_entries_of_the_product_sum_to_the_cosine_times_the_width():
    h1, h2 = embeddings(6)
    sums = module(Joint.PRODUCT, 1).represent(h1, h2).sum(dim=1)
    torch.testing.assert_close(sums, 5 * torch.cosine_similarity(h1, h2))


def test_log_odds_order_scores_that_rounding_makes_equal():
    pairs = PairSimilarity(torch.tensor([[30.0], [40.0], [-200.0], [-300.0]]), torch.zeros(4, 1))
    assert pairs.score[0] == pairs.score[1] == 1
    assert pairs.score[2] == pairs.score[3] == 0
    assert pairs.log_odds.tolist() == pytest.approx([30.0, 40.0, -200.0, -300.0])


def test_gradient_is_finite_where_a_confident_score_is_wrong():
    logits = torch.tensor([[-200.0, -300.0]], requires_grad=True)
    pairs = PairSimilarity(logits, torch.tensor([[0.0, -200.0]]))
    pairs.log_score.sum().backward()
    assert pairs.score.item() == 0
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([1.0, 0.0])


def test_dropout_falls_on_the_joint_representation_in_training_only():
    similarity = ConditionSimilarity(SimilarityConfig(dropout=0.5), embedding_dim=5, num_conditions=3)
    h1, h2 = embeddings(64)
    assert not torch.equal(similarity(h1, h2).score, similarity(h1, h2).score)
    similarity.eval()
    assert torch.equal(similarity(h1, h2).score, similarity(h1, h2).score)


def dropping(share: float, num_conditions: int = 6) -> ConditionSimilarity:
    """A module in training mode that drops conditions."""
    torch.manual_seed(0)
    config = SimilarityConfig(condition_dropout=share)
    return ConditionSimilarity(config, embedding_dim=5, num_conditions=num_conditions)


def test_condition_dropout_leaves_the_other_conditions_their_relevance_to_one_another():
    similarity = dropping(0.4)
    h1, h2 = embeddings(500)
    pairs = similarity(h1, h2)
    whole = similarity.eval()(h1, h2)
    dropped = pairs.relevance == 0
    assert dropped.double().mean().item() == pytest.approx(0.4, abs=0.03)
    kept = torch.where(dropped, 0.0, whole.relevance)
    torch.testing.assert_close(pairs.relevance, kept / kept.sum(dim=1, keepdim=True))
    assert torch.equal(pairs.similarity_logits, whole.similarity_logits)


@given(share=st.floats(0.01, 0.999), num_conditions=st.integers(1, 5))
def test_condition_dropout_never_drops_all_of_a_pair_s_conditions(share: float, num_conditions: int):
    pairs = dropping(share, num_conditions)(*embeddings(50))
    assert pairs.relevance.sum(dim=1).tolist() == pytest.approx([1.0] * 50, abs=1e-5)
    assert (pairs.relevance > 0).any(dim=1).all()
    if num_conditions == 1:
        assert torch.equal(pairs.relevance, torch.ones(50, 1))


def test_where_all_conditions_are_drawn_none_is_dropped():
    similarity = dropping(0.999, 2)
    h1, h2 = embeddings(50)
    torch.testing.assert_close(similarity(h1, h2).relevance, similarity.eval()(h1, h2).relevance)


def test_a_dropped_condition_learns_no_relevance_and_leaves_gradients_finite():
    similarity = dropping(0.5)
    pairs = similarity(*embeddings(1))
    pairs.log_score.sum().backward()
    assert similarity.relevance.bias.grad is not None
    assert torch.equal(similarity.relevance.bias.grad == 0, pairs.relevance[0] == 0)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in similarity.parameters())


def test_condition_dropout_plays_no_part_in_evaluation():
    similarity = dropping(0.5)
    h1, h2 = embeddings(64)
    assert not torch.equal(similarity(h1, h2).score, similarity(h1, h2).score)
    similarity.eval()
    assert torch.equal(similarity(h1, h2).score, similarity(h1, h2).score)
    assert (similarity(h1, h2).relevance > 0).all()


def test_first_weights_are_xavier_uniform_and_first_biases_zero():
    similarity = ConditionSimilarity(SimilarityConfig(), embedding_dim=300, num_conditions=100)
    for layer in (similarity.similarity, similarity.relevance):
        bound = math.sqrt(6 / (300 + 100))
        assert 0.99 * bound < layer.weight.abs().max().item() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert not layer.bias.any()


@pytest.mark.parametrize("name", ["dropout", "condition_dropout"])
@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_impossible_dropout_is_refused(name: str, share: float):
    values: dict[str, Any] = {name: share}
    with pytest.raises(UserError, match=rf"^{name} must lie in \[0, 1\), got "):
        SimilarityConfig(**values)


def test_first_weights_distance_are_for_joints_that_know_distances_only():
    with pytest.raises(UserError, match=r"first_weights distance needs .* absdiff or product, got concat"):
        SimilarityConfig(joint=Joint.CONCAT, first_weights=FirstWeights.DISTANCE)
    assert all(SimilarityConfig(joint=joint, first_weights=FirstWeights.DISTANCE) for joint in Joint if joint.symmetric)


def test_rounding_does_not_lift_a_score_above_one():
    relevance = torch.log_softmax(torch.randn(200, 512, generator=torch.Generator().manual_seed(0)), dim=1)
    pairs = PairSimilarity(torch.full((200, 512), 50.0), relevance)
    assert pairs.relevance.sum(dim=1).max() > 1  # by rounding
    assert pairs.score.max() <= 1
