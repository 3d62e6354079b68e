import copy
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import pan_model
from pan_model.config import TrialConfig
from pan_model.errors import UserError
from pan_model.model.pan import Pan, Scoring
from pan_model.model.similarity import Joint
from pan_model.scoring import all_pairs
from pan_model.scoring.all_pairs import most_similar, rank_embedded
from pan_model.scoring.pan_scorer import embedding_scorer
from pan_model.tasks.ranking import GalleryRanker

FEATURE_DIM = 4
"""Vectors of equal entries have exact unit vectors, of entries 1/2."""


@cache
def small_pan(joint: Joint, scoring: Scoring = Scoring.PAIR_MEAN, seed: int = 0) -> Pan:
    config = {"encoder": "siamese", "supervision": "unsupervised", "num_conditions": 3, "max_epochs": 1, "seed": seed}
    flat = config | {"joint": str(joint), "scoring": str(scoring)}
    torch.manual_seed(seed)
    return Pan(TrialConfig.from_flat(flat).model, feature_dim=FEATURE_DIM, num_classes=2, condition_names=()).eval()


def tied_embeddings(num: int, seed: int) -> Tensor:
    """Integers, of which many rows are equal: sums of |h1 - h2| are exact, and so are ties."""
    values = np.random.default_rng(seed).integers(-1, 2, size=(num, 1)).repeat(FEATURE_DIM, axis=1)
    return torch.from_numpy(values).float()


@cache
def exact_pan(joint: Joint, scoring: Scoring = Scoring.PAIR_MEAN) -> Pan:
    """Weights of which every sum is exact, so that tiles of all shapes give the same bits."""
    model = copy.deepcopy(small_pan(joint, scoring))
    with torch.no_grad():
        model.similarity.similarity.weight.fill_(0.25)
        model.similarity.relevance.weight.fill_(-0.5)
    return model


def expected_ranking(scores: np.ndarray, queries: np.ndarray, gallery: np.ndarray, k: int) -> list[list[int]]:
    """The first k of a stable sort of the whole matrix."""
    others = np.where(queries[:, None] == gallery, -np.inf, scores)
    return np.argsort(-others, axis=1, kind="stable")[:, :k].tolist()


@settings(deadline=None, max_examples=40)
@given(
    num_queries=st.integers(1, 9),
    num_gallery=st.integers(1, 25),
    k=st.integers(1, 25),
    batch_size=st.sampled_from([1, 30, 2**22]),
    joint=st.sampled_from([Joint.ABSDIFF, Joint.CONCAT]),
    scoring=st.sampled_from(Scoring),
    seed=st.integers(0, 99),
)
def test_a_gallery_is_ranked_as_the_whole_matrix_is_with_ties_in_gallery_order(
    num_queries: int, num_gallery: int, k: int, batch_size: int, joint: Joint, scoring: Scoring, seed: int
):
    model = exact_pan(joint, scoring)
    h = tied_embeddings(30, seed)
    generator = np.random.default_rng(seed)
    queries, gallery = generator.permutation(30)[:num_queries], generator.permutation(30)[:num_gallery]
    k = min(k, num_gallery)
    scores = embedding_scorer(model, h)(queries[None], gallery[None, :, None])[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(all_pairs, "SCORES_BATCH_SIZE", batch_size)
        best, unknown = rank_embedded(model, h, queries, gallery, k)
    assert best.tolist() == expected_ranking(scores, queries, gallery, k)
    assert not unknown.any()


@settings(deadline=None, max_examples=40)
@given(
    num_items=st.integers(1, 40),
    k=st.integers(1, 40),
    strip=st.sampled_from([1, 3, 7, 256]),
    joint=st.sampled_from(Joint),
    num_nan=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_items_among_each_other_are_ranked_as_the_whole_matrix_is(
    num_items: int, k: int, strip: int, joint: Joint, num_nan: int, seed: int
):
    model = exact_pan(joint)
    # The unit vectors of a product round; distinct ones are ranked alike by all tiles.
    random = torch.randn(num_items, FEATURE_DIM, generator=torch.Generator().manual_seed(seed))
    h = random if joint is Joint.PRODUCT else tied_embeddings(num_items, seed)
    items = np.random.default_rng(seed).permutation(num_items)
    if num_nan:
        h[items[: num_nan % num_items]] = math.nan
    k = min(k, num_items)
    scores = embedding_scorer(model, h)(items[None], items[None, :, None])[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(all_pairs, "STRIP", {"cpu": strip})
        best, unknown = rank_embedded(model, h, items, items, k)
    np.testing.assert_array_equal(unknown, np.isnan(scores).any(axis=1))
    expected = expected_ranking(scores, items, items, k)
    assert best[~unknown].tolist() == [row for row, nan in zip(expected, unknown, strict=True) if not nan]


def test_a_nan_query_is_unknown_and_a_nan_gallery_item_makes_all_queries_unknown():
    model, h = small_pan(Joint.ABSDIFF), torch.randn(8, FEATURE_DIM)
    h[2] = math.nan
    _, unknown = rank_embedded(model, h, np.array([2, 0, 1]), np.array([3, 4, 5]), 2)
    assert unknown.tolist() == [True, False, False]
    _, unknown = rank_embedded(model, h, np.array([0, 1]), np.array([3, 2]), 1)
    assert unknown.tolist() == [True, True]


def test_repeated_items_are_ranked_one_by_one():
    model, h = exact_pan(Joint.ABSDIFF), tied_embeddings(9, 0)
    items = np.array([4, 4, 1, 7, 4])
    scores = embedding_scorer(model, h)(items[None], items[None, :, None])[0]
    best, _ = rank_embedded(model, h, items, items, 5)
    assert best.tolist() == expected_ranking(scores, items, items, 5)


@pytest.mark.parametrize("scoring", Scoring)
@pytest.mark.parametrize("joint", Joint)
def test_most_similar_finds_the_best_scores(joint: Joint, scoring: Scoring):
    model = small_pan(joint, scoring)
    queries, gallery = torch.randn(4, FEATURE_DIM), torch.randn(11, FEATURE_DIM)
    found = pan_model.most_similar(model, queries, gallery, k=3)
    first, second = np.indices((4, 11)).reshape(2, -1)
    scores = model.score_pairs(torch.cat([queries, gallery]), first, second + 4).reshape(4, 11)
    assert found.items.tolist() == np.argsort(-scores, axis=1)[:, :3].tolist()
    np.testing.assert_allclose(found.scores.numpy(), -np.sort(-scores, axis=1)[:, :3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("joint", Joint)
def test_without_a_gallery_items_find_each_other_but_not_themselves(joint: Joint):
    model, h = small_pan(joint), torch.randn(7, FEATURE_DIM)
    found = most_similar(model, h, k=6)
    assert found.items.sort(dim=1).values.tolist() == [[i for i in range(7) if i != item] for item in range(7)]
    among = most_similar(model, h[:1], h[1:], k=2)
    assert found.items[0, :2].tolist() == (among.items[0] + 1).tolist()


def test_scores_of_a_query_with_a_nan_score_are_nan():
    model, h = small_pan(Joint.ABSDIFF), torch.randn(5, FEATURE_DIM)
    h[1, 0] = math.nan
    assert most_similar(model, h[:2], h[2:], k=2).scores.isnan().tolist() == [[False] * 2, [True] * 2]
    assert most_similar(model, h, k=2).scores.isnan().all()


def test_no_queries_find_nothing():
    model = small_pan(Joint.PRODUCT)
    found = most_similar(model, torch.empty(0, FEATURE_DIM), torch.randn(3, FEATURE_DIM), k=2)
    assert (found.items.shape, found.scores.shape) == ((0, 2), (0, 2))


@pytest.mark.parametrize(
    ("queries", "gallery", "k", "message"),
    [
        ((4, FEATURE_DIM), None, 4, r"k must be from 1 to 3, .* got 4\."),
        ((4, FEATURE_DIM), (9, FEATURE_DIM), 0, r"k must be from 1 to 9, .* got 0\."),
        ((4, FEATURE_DIM), (2, FEATURE_DIM), 10, r"k must be from 1 to 2, .* got 10\."),
        ((4, 5), None, 1, r"queries must have shape \(number of items, 4\), got \(4, 5\); pass model.embed"),
        ((4, FEATURE_DIM), (3, 7), 1, r"gallery must have shape \(number of items, 4\), got \(3, 7\); pass"),
    ],
)
def test_what_cannot_be_found_is_refused(
    queries: tuple[int, ...], gallery: tuple[int, ...] | None, k: int, message: str
):
    of_gallery = None if gallery is None else torch.zeros(gallery)
    with pytest.raises(UserError, match=message):
        most_similar(small_pan(Joint.ABSDIFF), torch.zeros(queries), of_gallery, k=k)


def test_pan_s_scorer_ranks_by_itself(build: Callable[[TrialConfig], Pan], configure: Callable[..., TrialConfig]):
    assert isinstance(embedding_scorer(build(configure()), torch.zeros(2, 16)), GalleryRanker)
