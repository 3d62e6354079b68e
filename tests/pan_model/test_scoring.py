from collections.abc import Callable

import numpy as np
import pytest
import torch

from pan_model.conditions import choose_conditions
from pan_model.config import TrialConfig
from pan_model.data.featured import FeaturedItems
from pan_model.model import Pan, new_pan
from pan_model.scoring import features_on, mean_pair_score, pan_scorer

CPU = torch.device("cpu")
QUERIES = np.array([[0, 5, 9, 40], [7, 7, 3, 100]])
SETS = np.array([[[1, 2], [3, 4], [5, 9]], [[8, 7], [0, 1], [50, 60]]])


def test_a_set_s_score_is_the_mean_of_its_pair_scores():
    def pair_score(i: int, j: int) -> float:
        return 1 / (1 + i + 10 * j)

    def score_pairs(index_1: np.ndarray, index_2: np.ndarray) -> np.ndarray:
        return np.array([pair_score(i, j) for i, j in zip(index_1.tolist(), index_2.tolist(), strict=True)])

    scores = mean_pair_score(score_pairs)(QUERIES, SETS)
    assert scores.shape == (2, 4, 3)
    for b in range(2):
        for q in range(4):
            for c in range(3):
                of_set = [pair_score(int(QUERIES[b, q]), int(item)) for item in SETS[b, c]]
                assert scores[b, q, c] == pytest.approx(sum(of_set) / len(of_set))


@pytest.fixture
def model(featured: FeaturedItems, configure: Callable[..., TrialConfig]) -> Pan:
    config = configure(dropout=0.5)
    conditions = choose_conditions(config.conditions, featured.attributes, featured.certain, featured.attribute_names)
    return new_pan(config, conditions, feature_dim=featured.feature_dim, num_classes=12)


def test_pan_scores_a_set_by_the_mean_score_of_the_pairs_without_dropout(model: Pan, featured: FeaturedItems):
    scores = pan_scorer(model.train(), featured, CPU)(QUERIES, SETS)
    model.eval()
    features = torch.tensor(featured.features)
    for b in range(2):
        for q in range(4):
            for c in range(3):
                query = features[QUERIES[b, q]].expand(2, -1)
                expected = model(query, features[SETS[b, c]]).score.mean().item()
                assert scores[b, q, c] == pytest.approx(expected, rel=1e-5)


def test_shared_features_are_viewed_without_a_copy_and_without_a_warning(featured: FeaturedItems):
    assert not featured.features.flags.writeable
    viewed = features_on(CPU, featured.features)
    assert viewed.data_ptr() == featured.features.ctypes.data
    assert viewed.dtype is torch.float32
    np.testing.assert_array_equal(viewed.numpy(), featured.features)
