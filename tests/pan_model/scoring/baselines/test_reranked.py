"""Re-ranking, compared with a straight implementation of the paper on full matrices."""

import numpy as np
import pytest

from pan_model.scoring.baselines import reranked
from pan_model.scoring.baselines.reranked import Reranked, Reranking
from pan_model.scoring.baselines.untrained import unit_rows
from pan_model.tasks.task import rank_gallery


def features_of(num_items: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(num_items // 6, 8))
    places = generator.integers(len(centres), size=num_items)
    return unit_rows((centres[places] + 0.7 * generator.normal(size=(num_items, 8))).astype(np.float32))


def reranked_distances(features: np.ndarray, num_queries: int, parameters: Reranking) -> np.ndarray:
    """Return the distances of the first items to the others, by loops over matrices of all pairs."""
    x = features.astype(np.float64)
    distances = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    distances /= distances.max(axis=1, keepdims=True)
    order = np.argsort(distances, axis=1, kind="stable")
    k1, k2, num_items = parameters.k1, parameters.k2, len(x)

    def reciprocal(item: int, k: int) -> list[int]:
        return [int(near) for near in order[item, : k + 1] if item in order[near, : k + 1]]

    encoded = np.zeros((num_items, num_items))
    for item in range(num_items):
        members = reciprocal(item, k1)
        grown = set(members)
        for near in members:
            further = reciprocal(near, round(k1 / 2))
            if len(set(further) & set(members)) > 2 / 3 * len(further):
                grown |= set(further)
        weights = {member: np.exp(-distances[item, member]) for member in grown}
        for member, weight in weights.items():
            encoded[item, member] = weight / sum(weights.values())
    encoded = np.stack([encoded[order[item, :k2]].mean(axis=0) for item in range(num_items)])
    result = np.empty((num_queries, num_items - num_queries))
    for query in range(num_queries):
        for place, other in enumerate(range(num_queries, num_items)):
            shared = np.minimum(encoded[query], encoded[other]).sum()
            everything = np.maximum(encoded[query], encoded[other]).sum()
            jaccard, weight = 1 - shared / everything, parameters.distance_weight
            result[query, place] = weight * distances[query, other] + (1 - weight) * jaccard
    return result


@pytest.mark.parametrize(
    "parameters",
    [
        Reranking(k1=6, k2=3, distance_weight=0.3),
        Reranking(k1=9, k2=1, distance_weight=0.0),
        Reranking(k1=200, k2=5, distance_weight=0.7),  # more neighbours than there are items
    ],
)
def test_scores_are_those_of_a_straight_implementation(parameters: Reranking, monkeypatch: pytest.MonkeyPatch):
    features = features_of(90)
    queries, gallery = np.arange(30), np.arange(30, 90)
    expected = reranked_distances(features, 30, parameters)
    monkeypatch.setattr(reranked, "SCORES_BATCH_SIZE", 90 * 7)  # strips of 7
    scorer = Reranked(features, parameters)
    scores = scorer(queries[None], gallery[None, :, None])[0]
    np.testing.assert_allclose(-scores, expected, atol=2e-5)
    best = scorer.rank(queries, gallery, 5).best
    np.testing.assert_allclose(np.take_along_axis(expected, best, 1), np.sort(expected, axis=1)[:, :5], atol=2e-5)


def test_neither_order_nor_place_of_items_matters():
    features, parameters = features_of(60), Reranking(k1=6, k2=3, distance_weight=0.3)
    scorer = Reranked(features, parameters)
    queries, gallery = np.arange(0, 60, 3), np.setdiff1d(np.arange(60), np.arange(0, 60, 3))
    scores = scorer(queries[None], gallery[None, :, None])[0]
    turned = scorer(queries[None, ::-1], gallery[None, ::-1, None])[0]
    np.testing.assert_allclose(turned, scores[::-1, ::-1], atol=1e-6)


def test_a_query_in_the_gallery_does_not_find_itself():
    scorer = Reranked(features_of(40), Reranking(k1=6, k2=3, distance_weight=0.3))
    items = np.arange(40)
    best, unknown = rank_gallery(scorer, items, items, 39)
    assert not unknown.any()
    assert (np.sort(best, axis=1) == [np.setdiff1d(items, [item]) for item in items]).all()


def test_equal_items_are_ranked_in_gallery_order():
    scorer = Reranked(np.ones((6, 1), dtype=np.float32), Reranking(k1=2, k2=1, distance_weight=1.0))
    assert scorer.rank(np.array([0, 1]), np.array([5, 4, 3, 2]), 4).best.tolist() == [[0, 1, 2, 3]] * 2
