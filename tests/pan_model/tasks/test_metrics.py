import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.tasks.metrics import episode_accuracy, match_ranks, recall_of_ranks
from pan_model.tasks.task import SetScorer, rank_gallery

seeds = st.integers(0, 99)


def scorer_of(scores: np.ndarray) -> SetScorer:
    """A scorer of pairs by a table of scores."""
    return lambda queries, sets: scores[queries[:, :, None], sets[:, None, :, 0]]


def ranks_of(scores: np.ndarray, queries: np.ndarray, gallery: np.ndarray, k: int | None = None) -> np.ndarray:
    """The ranks of matches, given the scores of queries and a gallery of disjoint items, and their classes."""
    table = np.concatenate([np.empty((len(queries), len(queries)), scores.dtype), scores], axis=1)
    items = len(queries) + np.arange(len(gallery))
    best, unknown = rank_gallery(scorer_of(table), np.arange(len(queries)), items, k or len(gallery))
    return match_ranks(np.concatenate([queries, gallery])[items[best]], unknown, queries)


def recall_among(ks: tuple[int, ...], scores: np.ndarray, classes: np.ndarray) -> dict[int, np.ndarray]:
    """The recall of items among each other, of those that have another of their class."""
    items = np.arange(len(classes))
    best, unknown = rank_gallery(scorer_of(scores), items, items, max(ks))
    has_fellow = (classes[:, None] == classes).sum(axis=1) > 1
    return recall_of_ranks(ks, match_ranks(classes[best], unknown, classes)[has_fellow])


@given(num_episodes=st.integers(1, 4), num_queries=st.integers(1, 6), num_classes=st.integers(2, 5), seed=seeds)
def test_episode_accuracy_is_the_share_of_right_answers_among_those_asked(
    num_episodes: int, num_queries: int, num_classes: int, seed: int
):
    generator = np.random.default_rng(seed)
    scores = generator.random((num_episodes, num_queries, num_classes))
    answers = generator.integers(num_classes, size=(num_episodes, num_queries))
    asked = generator.random((num_episodes, num_queries)) < 0.6
    asked[:, 0] = True
    expected = []
    for b in range(num_episodes):
        right = asked_here = 0
        for q in range(num_queries):
            if asked[b, q]:
                best = max(range(num_classes), key=lambda c: scores[b, q, c])
                right += best == answers[b, q]
                asked_here += 1
        expected.append(right / asked_here)
    assert episode_accuracy(scores, answers, asked).tolist() == pytest.approx(expected)


def test_a_nan_score_makes_its_episode_nan_and_no_other():
    scores = np.zeros((2, 3, 2))
    scores[1, 2, 0] = math.nan
    accuracy = episode_accuracy(scores, np.zeros((2, 3), np.int64), np.ones((2, 3), bool))
    assert accuracy[0] == 1
    assert math.isnan(accuracy[1])


@given(num_items=st.integers(2, 12), num_classes=st.integers(1, 5), seed=seeds)
def test_recall_at_k_looks_for_a_fellow_among_the_k_best_others(num_items: int, num_classes: int, seed: int):
    generator = np.random.default_rng(seed)
    classes = generator.integers(num_classes, size=num_items)
    scores = generator.permutation(num_items * num_items).reshape(num_items, num_items).astype(float)
    ks = (1, 2, 4, 8)
    expected: dict[int, list[float]] = {k: [] for k in ks}
    for query in range(num_items):
        others = [item for item in range(num_items) if item != query]
        if any(classes[item] == classes[query] for item in others):
            best_first = sorted(others, key=lambda item: -scores[query, item])
            for k in ks:
                expected[k].append(float(any(classes[item] == classes[query] for item in best_first[:k])))
    before = scores.copy()
    assert {k: hits.tolist() for k, hits in recall_among(ks, scores, classes).items()} == expected
    assert (scores == before).all()


def test_an_item_does_not_find_itself():
    scores = np.array([[9.0, 2.0, 1.0], [2.0, 9.0, 1.0], [2.0, 1.0, 9.0]])
    assert recall_among((1,), scores, np.array([0, 1, 0]))[1].tolist() == [0, 1]


def test_recall_takes_the_query_s_row_of_scores():
    scores = np.array([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0], [3.0, 4.0, 0.0]])
    assert recall_among((1,), scores, np.array([0, 1, 0]))[1].tolist() == [1, 0]


def test_a_nan_score_makes_its_query_s_recall_nan_and_no_other():
    scores = np.array([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0], [math.nan, 4.0, 0.0]])
    recall = recall_among((1, 2), scores, np.array([0, 0, 0]))
    for hits in recall.values():
        assert hits[:2].tolist() == [1, 1]
        assert math.isnan(hits[2])


def test_an_item_without_fellows_is_no_query():
    assert recall_among((1,), np.zeros((3, 3)), np.array([7, 7, 8]))[1].shape == (2,)


@given(num_queries=st.integers(1, 6), num_gallery=st.integers(1, 9), num_classes=st.integers(1, 4), seed=seeds)
def test_a_rank_counts_what_stands_before_the_first_match(
    num_queries: int, num_gallery: int, num_classes: int, seed: int
):
    generator = np.random.default_rng(seed)
    queries, gallery = (generator.integers(num_classes, size=size) for size in (num_queries, num_gallery))
    scores = generator.integers(4, size=(num_queries, num_gallery)).astype(np.float32)  # with ties
    scores[scores == 0] = -np.inf
    expected: list[float] = []
    for query in range(num_queries):
        best_first = sorted(range(num_gallery), key=lambda item: -scores[query, item])  # stable: ties in order
        matches = [place for place, item in enumerate(best_first) if gallery[item] == queries[query]]
        expected.append(min(matches, default=math.inf))
    before = scores.copy()
    ranks = ranks_of(scores, queries, gallery)
    assert ranks.tolist() == expected
    assert (scores == before).all()
    for k, hits in recall_of_ranks((1, 2, 4, 50), ranks).items():
        assert hits.tolist() == [float(rank < k) for rank in expected]


def test_the_recall_of_ranks_is_that_of_scores():
    generator = np.random.default_rng(0)
    classes, scores = np.arange(30) % 6, generator.random((30, 30))
    others = [np.delete(np.arange(30), query) for query in range(30)]
    ranks = [ranks_of(scores[n : n + 1, o], classes[[n]], classes[o]) for n, o in enumerate(others)]
    expected = recall_among((1, 2, 4), scores, classes)
    assert {k: hits.tolist() for k, hits in recall_of_ranks((1, 2, 4), np.concatenate(ranks)).items()} == {
        k: hits.tolist() for k, hits in expected.items()
    }


@given(num_queries=st.integers(1, 6), num_gallery=st.integers(1, 9), k=st.integers(1, 12), seed=seeds)
def test_ranks_among_the_k_best_are_those_of_all(num_queries: int, num_gallery: int, k: int, seed: int):
    generator = np.random.default_rng(seed)
    queries, gallery = (generator.integers(3, size=size) for size in (num_queries, num_gallery))
    scores = generator.integers(3, size=(num_queries, num_gallery)).astype(np.float64)  # with ties
    scores[generator.random(scores.shape) < 0.05] = math.nan
    whole, best = ranks_of(scores, queries, gallery), ranks_of(scores, queries, gallery, k)
    np.testing.assert_array_equal(best, np.where(whole >= min(k, num_gallery), math.inf, whole))


def test_a_nan_score_makes_its_query_s_rank_nan_and_no_other():
    scores = np.array([[0.5, math.nan], [0.5, 0.25]])
    ranks = ranks_of(scores, np.array([7, 7]), np.array([7, 8]))
    assert math.isnan(ranks[0])
    assert ranks[1] == 0
    assert math.isnan(recall_of_ranks((2,), ranks)[2][0])
