import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pan_model.tasks import task
from pan_model.tasks.ranking import GalleryRanker, Ranking, best_scored
from pan_model.tasks.task import rank_gallery, score_rows


@given(
    num_rows=st.integers(0, 6),
    num_columns=st.integers(1, 30),
    k=st.integers(1, 30),
    num_values=st.sampled_from([1, 2, 5, 1000]),
    double=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_best_are_the_first_of_a_stable_sort(
    num_rows: int, num_columns: int, k: int, num_values: int, double: bool, seed: int
):
    generator = np.random.default_rng(seed)
    scores = generator.integers(num_values, size=(num_rows, num_columns)).astype(np.float64 if double else np.float32)
    for value in (-np.inf, np.inf, -0.0):
        scores[generator.random(scores.shape) < 0.1] = value
    nan_rows = generator.random(num_rows) < 0.2
    scores[nan_rows, num_columns // 2] = math.nan
    k = min(k, num_columns)
    before = scores.copy()
    best = best_scored(torch.from_numpy(scores), k)
    np.testing.assert_array_equal(scores, before)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert best.unknown.tolist() == nan_rows.tolist()
    assert best.columns[~best.unknown].tolist() == expected[~nan_rows].tolist()
    np.testing.assert_array_equal(best.scores.numpy()[~nan_rows], np.take_along_axis(scores, expected, 1)[~nan_rows])


def test_a_scorer_without_a_ranking_is_asked_in_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(task, "SCORES_BATCH_SIZE", 20)
    scores = np.random.default_rng(0).integers(3, size=(12, 12)).astype(np.float32)
    sizes: list[int] = []

    def score(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        sizes.append(queries.shape[1])
        return scores[queries[:, :, None], sets[:, None, :, 0]]

    queries, gallery = np.array([4, 0, 7, 1, 11]), np.array([7, 2, 1, 3, 9, 10, 5])
    best, unknown = rank_gallery(score, queries, gallery, 99)
    assert sizes == [2, 2, 1]
    assert not unknown.any()
    own = np.where(queries[:, None] == gallery, -np.inf, scores[queries][:, gallery])
    assert best.tolist() == np.argsort(-own, axis=1, kind="stable").tolist()


class Backwards:
    """Ranks a gallery from its end."""

    def __call__(self, queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        raise AssertionError("it ranks by itself")

    def rank(self, queries: np.ndarray, gallery: np.ndarray, k: int) -> Ranking:
        return Ranking(gallery[::-1][:k] + 0 * queries[:, None], np.zeros(len(queries), dtype=bool))


def test_a_scorer_that_ranks_is_asked_for_its_ranking_in_rows_of_items_too():
    scorer = Backwards()
    assert isinstance(scorer, GalleryRanker)
    assert rank_gallery(scorer, np.array([1]), np.array([2, 3, 4]), 2).best.tolist() == [[4, 3]]
    items = np.array([10, 20, 30])
    assert rank_gallery(score_rows(scorer, items), np.array([10]), np.array([20, 30]), 2).best.tolist() == [[2, 1]]
