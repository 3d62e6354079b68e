import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pan_model.model import pair_scores
from pan_model.model.pair_scores import PairScorer, SumOfRows
from pan_model.model.precision import Precision
from pan_model.model.similarity import ConditionSimilarity, Joint, SimilarityConfig
from pan_model.reproducibility import computing_threads

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}
"""Absolute tolerance of p and relative tolerance of log-odds of logits with a magnitude of about 10."""


def build(
    joint: Joint, embedding_dim: int, num_conditions: int, *, dtype: torch.dtype, size: float = 1.0, seed: int = 0
) -> ConditionSimilarity:
    """A module with biases, dropout and logits of about the given size, in training mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = SimilarityConfig(joint=joint, dropout=0.5, condition_dropout=0.5)
        similarity = ConditionSimilarity(config, embedding_dim=embedding_dim, num_conditions=num_conditions)
        for layer in (similarity.similarity, similarity.relevance):
            torch.nn.init.normal_(layer.weight, std=size / embedding_dim**0.5)
            torch.nn.init.normal_(layer.bias, std=size)
    return similarity.to(dtype)


def embeddings(num: int, dim: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(num, dim, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def straight(similarity: ConditionSimilarity, h: Tensor, pairs: Tensor, *, log_odds: bool) -> Tensor:
    """The scores by the straight form, in float64."""
    exact = build(similarity.joint, h.shape[1], len(similarity.similarity.bias), dtype=torch.float64).eval()
    exact.load_state_dict(similarity.state_dict())
    of_pairs = exact(h[pairs[:, 0]].double(), h[pairs[:, 1]].double())
    return of_pairs.log_odds if log_odds else of_pairs.score


def assert_equal(scores: Tensor, expected: Tensor, *, log_odds: bool) -> None:
    tolerance = TOLERANCE[scores.dtype]
    torch.testing.assert_close(scores.double(), expected, rtol=tolerance if log_odds else 0, atol=tolerance)


shapes = st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 7, 130]))
kinds = {
    "joint": st.sampled_from(Joint),
    "shape": shapes,
    "dtype": st.sampled_from([torch.float64, torch.float32]),
    "size": st.sampled_from([0.1, 3.0]),
    "log_odds": st.booleans(),
    "seed": st.integers(0, 99),
}


@settings(deadline=None, max_examples=60)
@given(num_pairs=st.integers(0, 50), chunk_size=st.sampled_from([None, 1, 7]), **kinds)
def test_pairs_have_the_scores_of_the_straight_form(
    num_pairs: int,
    chunk_size: int | None,
    joint: Joint,
    shape: tuple[int, int],
    dtype: torch.dtype,
    size: float,
    log_odds: bool,
    seed: int,
):
    similarity = build(joint, *shape, dtype=dtype, size=size, seed=seed)
    h = embeddings(9, shape[0], dtype, seed)
    pairs = torch.from_numpy(np.random.default_rng(seed).integers(9, size=(num_pairs, 2)))
    scores = PairScorer(similarity, log_odds=log_odds).pairs(h, pairs, chunk_size=chunk_size)
    assert_equal(scores, straight(similarity, h, pairs, log_odds=log_odds), log_odds=log_odds)


@settings(deadline=None, max_examples=30)
@given(num_pairs=st.integers(1, 60), **{name: kinds[name] for name in ("joint", "shape", "dtype", "size", "seed")})
def test_mean_relevance_is_that_of_the_straight_form(
    num_pairs: int, joint: Joint, shape: tuple[int, int], dtype: torch.dtype, size: float, seed: int
):
    similarity = build(joint, *shape, dtype=dtype, size=size, seed=seed).eval()
    h = embeddings(9, shape[0], dtype, seed)
    pairs = torch.from_numpy(np.random.default_rng(seed).integers(9, size=(num_pairs, 2)))
    mean = PairScorer(similarity, log_odds=False).mean_relevance(h, pairs)
    with torch.no_grad():
        expected = similarity(h[pairs[:, 0]], h[pairs[:, 1]]).relevance.double().mean(dim=0)
    torch.testing.assert_close(mean, expected, rtol=0, atol=TOLERANCE[dtype])


@settings(deadline=None, max_examples=60)
@given(num_queries=st.integers(0, 12), num_items=st.sampled_from([0, 1, 5, 300]), **kinds)
def test_blocks_have_the_scores_of_the_straight_form(
    num_queries: int,
    num_items: int,
    joint: Joint,
    shape: tuple[int, int],
    dtype: torch.dtype,
    size: float,
    log_odds: bool,
    seed: int,
):
    similarity = build(joint, *shape, dtype=dtype, size=size, seed=seed)
    queries, items = embeddings(num_queries, shape[0], dtype, seed), embeddings(num_items, shape[0], dtype, seed + 1)
    scorer = PairScorer(similarity, log_odds=log_odds)
    scores = scorer.block(scorer.left(queries), scorer.right(items))
    assert scores.shape == (num_queries, num_items)
    pairs = torch.cartesian_prod(torch.arange(num_queries), num_queries + torch.arange(num_items)).reshape(-1, 2)
    expected = straight(similarity, torch.cat([queries, items]), pairs, log_odds=log_odds)
    assert_equal(scores.reshape(-1), expected, log_odds=log_odds)


@settings(deadline=None, max_examples=40)
@given(sizes=st.tuples(st.integers(0, 9), st.integers(1, 6), st.integers(1, 4)), **kinds)
def test_many_blocks_have_the_scores_of_the_straight_form(
    sizes: tuple[int, int, int],
    joint: Joint,
    shape: tuple[int, int],
    dtype: torch.dtype,
    size: float,
    log_odds: bool,
    seed: int,
):
    similarity = build(joint, *shape, dtype=dtype, size=size, seed=seed)
    h = embeddings(9, shape[0], dtype, seed)
    generator = np.random.default_rng(seed)
    queries, items = (torch.from_numpy(generator.integers(9, size=(sizes[0], num))) for num in sizes[1:])
    scorer = PairScorer(similarity, log_odds=log_odds)
    scores = scorer.blocks(scorer.left(h)[queries], scorer.right(h)[items])
    pairs = torch.stack(torch.broadcast_tensors(queries[:, :, None], items[:, None]), dim=-1).flatten(0, 2)
    expected = straight(similarity, h, pairs, log_odds=log_odds)
    assert_equal(scores.flatten(), expected, log_odds=log_odds)


@pytest.mark.parametrize("joint", Joint)
@pytest.mark.parametrize("num_conditions", [3, 200])
def test_many_pairs_and_tiles_are_put_in_their_places(joint: Joint, num_conditions: int):
    similarity = build(joint, 600, num_conditions, dtype=torch.float32)
    h = embeddings(70, 600, torch.float32)
    scorer = PairScorer(similarity, log_odds=True)
    rows, columns = torch.arange(20), torch.arange(20, 70)
    pairs = torch.cartesian_prod(rows, columns).repeat(2, 1)
    expected = straight(similarity, h, pairs, log_odds=True)
    assert_equal(scorer.pairs(h, pairs), expected, log_odds=True)
    assert_equal(scorer.block(scorer.left(h[:20]), scorer.right(h[20:])).reshape(-1), expected[:1000], log_odds=True)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("joint", Joint)
def test_threads_score_what_one_thread_scores(
    joint: Joint, precision: Precision, context: Callable[[], AbstractContextManager[object]]
):
    similarity = build(joint, 40, 50, dtype=torch.float32)
    similarity.precision = precision
    scores: list[Tensor] = []
    for num_threads in (1, 3):
        with computing_threads(num_threads), context():
            h = embeddings(30, 40, torch.float32)
            pairs = torch.cartesian_prod(torch.arange(30), torch.arange(30))
            scores.append(PairScorer(similarity, log_odds=True).pairs(h, pairs, chunk_size=64))
            assert torch.get_num_threads() == num_threads
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pays", [0, 1e9])
def test_products_of_few_and_of_many_pairs_have_the_same_scores(
    pays: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pair_scores, "SQUARES_PAY", pays)
    similarity = build(Joint.PRODUCT, 300, 4, dtype=dtype)
    h = embeddings(6, 300, dtype).relu()  # sparse: squares of sums are far larger than products
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(6))
    scores = PairScorer(similarity, log_odds=True).pairs(h, pairs)
    assert_equal(scores, straight(similarity, h, pairs, log_odds=True), log_odds=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [50.0, 300.0, 3000.0])
@pytest.mark.parametrize("joint", Joint)
def test_log_odds_of_sure_pairs_do_not_saturate(joint: Joint, size: float, dtype: torch.dtype):
    similarity = build(joint, 30, 2, dtype=dtype, size=size)
    h = embeddings(40, 30, dtype)
    scorer = PairScorer(similarity, log_odds=True)
    expected = straight(similarity, h, torch.cartesian_prod(torch.arange(40), torch.arange(40)), log_odds=True)
    for scores in (
        scorer.pairs(h, torch.cartesian_prod(torch.arange(40), torch.arange(40))),
        scorer.block(scorer.left(h), scorer.right(h)).reshape(-1),
    ):
        assert scores.isfinite().all()
        atol = 1e-5 * size if dtype is torch.float32 else 1e-12 * size
        torch.testing.assert_close(scores.double(), expected, rtol=0, atol=5 * atol)
    assert expected.abs().max() > size / 5


@pytest.mark.parametrize("joint", [Joint.ABSDIFF, Joint.PRODUCT])
def test_the_order_of_a_symmetric_pair_does_not_matter_to_the_last_bit(joint: Joint):
    scorer = PairScorer(build(joint, 33, 5, dtype=torch.float32), log_odds=True)
    h = embeddings(50, 33, torch.float32)
    pairs = torch.randint(50, (64, 2), generator=torch.Generator().manual_seed(1))
    assert torch.equal(scorer.pairs(h, pairs), scorer.pairs(h, pairs.flip(1)))


@pytest.mark.parametrize("log_odds", [False, True])
@pytest.mark.parametrize("joint", Joint)
def test_a_nan_embedding_shows_in_its_pairs_alone(joint: Joint, log_odds: bool):
    scorer = PairScorer(build(joint, 6, 4, dtype=torch.float32), log_odds=log_odds)
    h = embeddings(5, 6, torch.float32)
    h[3] = math.nan
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    expected = (pairs == 3).any(dim=1).tolist()
    assert scorer.pairs(h, pairs).isnan().tolist() == expected
    assert scorer.block(scorer.left(h), scorer.right(h)).reshape(-1).isnan().tolist() == expected


@pytest.mark.parametrize("joint", Joint)
def test_weights_are_left_alone(joint: Joint):
    similarity = build(joint, 6, 4, dtype=torch.float32)
    before = {name: value.clone() for name, value in similarity.state_dict().items()}
    h = embeddings(5, 6, torch.float32)
    kept = h.clone()
    scorer = PairScorer(similarity, log_odds=False)
    scorer.pairs(h, torch.tensor([[0, 1], [2, 2]]))
    scorer.block(scorer.left(h), scorer.right(h))
    assert torch.equal(h, kept)
    assert similarity.training
    assert all(torch.equal(value, before[name]) for name, value in similarity.state_dict().items())


def test_sums_of_rows_keep_the_type_and_accept_no_pairs():
    table = embeddings(4, 3, torch.float64)
    sum_rows = SumOfRows(8, table.device)
    assert sum_rows(table, torch.empty(0, 2, dtype=torch.int64)).shape == (0, 3)
    assert torch.equal(sum_rows(table, torch.tensor([[1, 3]])), table[1:2] + table[3:])


@settings(deadline=None, max_examples=40)
@given(num_pairs=st.sampled_from([1, 5, 700]), **kinds)
def test_scores_in_bfloat16_differ_by_their_rounding_alone(
    num_pairs: int, joint: Joint, shape: tuple[int, int], dtype: torch.dtype, size: float, log_odds: bool, seed: int
):
    similarity = build(joint, *shape, dtype=dtype, size=size, seed=seed)
    similarity.precision = Precision.BFLOAT16
    h = embeddings(9, shape[0], dtype, seed)
    pairs = torch.from_numpy(np.random.default_rng(seed).integers(9, size=(num_pairs, 2)))
    scorer = PairScorer(similarity, log_odds=log_odds)
    every = torch.cartesian_prod(torch.arange(4), torch.arange(4, 9)).reshape(-1, 2)
    for scores, of_pairs in (
        (scorer.pairs(h, pairs), pairs),
        (scorer.block(scorer.left(h[:4]), scorer.right(h[4:])).reshape(-1), every),
    ):
        expected = straight(similarity, h, of_pairs, log_odds=log_odds)
        assert scores.dtype == dtype
        torch.testing.assert_close(scores.double(), expected, rtol=0.02, atol=0.03 * (1 + size))
