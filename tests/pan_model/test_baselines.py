import math

import numpy as np
import pytest

from pan_model.baselines import nearest_class_mean, normalise, siamese_distance, untrained_baselines
from pan_model.data.featured import FeaturedItems
from pan_model.data.splits import Split
from pan_model.normalisation import NormalisationKind
from pan_model.tasks.few_shot import FewShotTask

QUERIES = np.array([[0, 5, 9], [7, 7, 3]])
SETS = np.array([[[1, 2], [3, 4], [5, 9]], [[8, 7], [0, 1], [10, 11]]])


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def test_nearest_class_mean_is_the_cosine_of_query_and_mean(features: np.ndarray):
    scores = nearest_class_mean(features)(QUERIES, SETS)
    for b, q, c in np.ndindex(2, 3, 3):
        query = [float(x) for x in features[QUERIES[b, q]]]
        mean = [sum(float(features[item][d]) for item in SETS[b, c]) / 2 for d in range(5)]
        cosine = sum(x * y for x, y in zip(query, mean, strict=True)) / (math.hypot(*query) * math.hypot(*mean))
        assert scores[b, q, c] == pytest.approx(cosine, abs=1e-6)


def test_siamese_distance_is_minus_the_mean_distance_to_the_set(features: np.ndarray):
    scores = siamese_distance(features)(QUERIES, SETS)
    for b, q, c in np.ndindex(2, 3, 3):
        query = [float(x) for x in features[QUERIES[b, q]]]
        distances = [math.dist(query, [float(x) for x in features[item]]) for item in SETS[b, c]]
        assert scores[b, q, c] == pytest.approx(-sum(distances) / 2, abs=2e-3)


def test_baselines_of_zero_features_are_numbers():
    features = np.zeros((12, 5), np.float32)
    assert not nearest_class_mean(features)(QUERIES, SETS).any()
    assert not siamese_distance(features)(QUERIES, SETS).any()


def test_features_are_normalised_by_what_the_training_items_say(featured: FeaturedItems):
    training = featured.items_of((Split.TRAIN,))
    normalised = normalise(featured, training, NormalisationKind.STANDARDISE)
    of_training = featured.features[training].astype(np.float64)
    expected = (featured.features - of_training.mean(axis=0)) / of_training.std(axis=0)
    np.testing.assert_allclose(normalised, expected, atol=1e-4)
    assert abs(normalised[featured.splits[Split.TEST]].mean(axis=0)).max() > 0.05


def test_baselines_have_the_reports_names_and_answer_a_task_s_questions(featured: FeaturedItems):
    task = FewShotTask(featured, seed=0)
    baselines = untrained_baselines(task, NormalisationKind.STANDARDISE)
    assert list(baselines) == ["nearest_class_mean", "nearest_class_mean_normalised", "siamese_distance"]
    expected = {
        "nearest_class_mean": nearest_class_mean(featured.features),
        "nearest_class_mean_normalised": nearest_class_mean(
            normalise(featured, task.training_items, NormalisationKind.STANDARDISE)
        ),
        "siamese_distance": siamese_distance(featured.features),
    }
    accuracies = {name: task.evaluate(scorer, Split.VAL)["few_shot_accuracy"] for name, scorer in baselines.items()}
    for name, accuracy in accuracies.items():
        assert accuracy.tolist() == task.evaluate(expected[name], Split.VAL)["few_shot_accuracy"].tolist()
        assert 0.6 < accuracy.mean() <= 1  # the clusters are planted, chance is 0.2
    assert accuracies["nearest_class_mean_normalised"].tolist() != accuracies["nearest_class_mean"].tolist()
