import math
from collections.abc import Callable

import numpy as np
import pytest

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.normalisation import NormalisationConfig, NormalisationKind
from pan_model.scoring.baselines.untrained import (
    NORMALISED,
    mean_cosine,
    nearest_class_mean,
    normalised_features,
    siamese_distance,
    untrained_baselines,
)
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


def test_mean_cosine_is_the_mean_of_the_cosines_with_the_items(features: np.ndarray):
    scores = mean_cosine(features)(QUERIES, SETS)
    for b, q, c in np.ndindex(2, 3, 3):
        query = [float(x) for x in features[QUERIES[b, q]]]
        items = [[float(x) for x in features[item]] for item in SETS[b, c]]
        cosines = [
            sum(x * y for x, y in zip(query, item, strict=True)) / (math.hypot(*query) * math.hypot(*item))
            for item in items
        ]
        assert scores[b, q, c] == pytest.approx(sum(cosines) / 2, abs=1e-6)


def test_siamese_distance_is_minus_the_mean_distance_to_the_set(features: np.ndarray):
    scores = siamese_distance(features)(QUERIES, SETS)
    for b, q, c in np.ndindex(2, 3, 3):
        query = [float(x) for x in features[QUERIES[b, q]]]
        distances = [math.dist(query, [float(x) for x in features[item]]) for item in SETS[b, c]]
        assert scores[b, q, c] == pytest.approx(-sum(distances) / 2, abs=2e-3)


def test_baselines_of_zero_features_are_numbers():
    features = np.zeros((12, 5), np.float32)
    assert not nearest_class_mean(features)(QUERIES, SETS).any()
    assert not mean_cosine(features)(QUERIES, SETS).any()
    assert not siamese_distance(features)(QUERIES, SETS).any()


WHITEN = NormalisationConfig(normalisation=NormalisationKind.WHITEN, whitening_shrinkage=0.5)


def test_features_are_normalised_by_what_the_training_items_say(task: FewShotTask, featured: FeaturedItems):
    normalised = normalised_features(task, NormalisationConfig())
    of_training = featured.features[featured.splits[Split.TRAIN]].astype(np.float64)
    expected = (featured.features - of_training.mean(axis=0)) / of_training.std(axis=0)
    np.testing.assert_allclose(normalised, expected, atol=1e-4)
    assert abs(normalised[featured.splits[Split.TEST]].mean(axis=0)).max() > 0.05


def test_features_are_whitened_by_the_training_items_and_their_classes(task: FewShotTask, featured: FeaturedItems):
    items = featured.splits[Split.TRAIN]
    x = featured.features.astype(np.float64)
    deviations = np.concatenate(
        [
            x[of_class] - x[of_class].mean(axis=0)
            for label in np.unique(featured.classes[items])
            for of_class in [items[featured.classes[items] == label]]
        ]
    )
    covariance = deviations.T @ deviations / len(items)
    shrunken = 0.5 * covariance + 0.5 * np.trace(covariance) / 16 * np.eye(16)
    # |C^(-1/2) x| and the inner products of such vectors are those of any other root of C^(-1).
    centred = (x - x[items].mean(axis=0)) @ np.linalg.cholesky(np.linalg.inv(shrunken))
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    normalised = normalised_features(task, WHITEN)
    np.testing.assert_allclose(normalised @ normalised.T, unit @ unit.T, atol=1e-4)


def test_final_training_normalises_by_train_and_val(featured: FeaturedItems, task: FewShotTask):
    final = FewShotTask(featured, seed=0, train_on=(Split.TRAIN, Split.VAL))
    for config in (NormalisationConfig(), WHITEN):
        assert abs(normalised_features(final, config) - normalised_features(task, config)).max() > 1e-3


def test_baselines_have_the_reports_names_and_answer_a_task_s_questions(task: FewShotTask, featured: FeaturedItems):
    baselines = untrained_baselines(task)
    assert list(baselines) == ["nearest_class_mean", "siamese_distance"]
    assert NORMALISED == "nearest_class_mean_normalised"
    expected = {
        "nearest_class_mean": nearest_class_mean(featured.features),
        "siamese_distance": siamese_distance(featured.features),
    }
    for name, scorer in baselines.items():
        accuracy = task.evaluate(scorer, Split.VAL)["few_shot_accuracy"]
        assert accuracy.tolist() == task.evaluate(expected[name], Split.VAL)["few_shot_accuracy"].tolist()
        assert 0.6 < accuracy.mean() <= 1  # the clusters are planted, chance is 0.2


def test_whitening_finds_classes_beneath_what_varies_within_them(planted: Callable[..., FeaturedItems]):
    def shake(arrays: dict[str, np.ndarray]) -> None:
        generator = np.random.default_rng(1)
        direction = generator.choice([-3, 3], size=16)  # the same for all items, so that no single feature is to blame
        arrays["features"] += (generator.normal(size=(len(arrays["features"]), 1)) * direction).astype(np.float32)

    task = FewShotTask(planted(change=shake), seed=0)
    little = NormalisationConfig(normalisation=NormalisationKind.WHITEN, whitening_shrinkage=0.01)
    plain, standardised, whitened = (
        task.evaluate(nearest_class_mean(features), Split.TEST)["few_shot_accuracy"].mean()
        for features in (
            task.featured.features,
            normalised_features(task, NormalisationConfig()),
            normalised_features(task, little),
        )
    )
    assert whitened > 0.95
    assert max(plain, standardised) < 0.85
