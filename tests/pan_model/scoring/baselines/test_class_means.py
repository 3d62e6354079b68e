"""centred_l2 and lda; scikit-learn is the oracle of lda."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.normalisation import NormalisationConfig, NormalisationKind
from pan_model.scoring.baselines.class_means import fit_centred_l2, fit_lda, whitened_features
from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.baselines.untrained import nearest_class_mean, normalised_features, unit_rows
from pan_model.tasks.few_shot import FewShotTask

QUERIES = np.array([[0, 5, 9], [7, 7, 3]])
SETS = np.array([[[1, 2], [3, 4], [5, 9]], [[8, 7], [0, 1], [10, 11]]])


def test_centred_l2_is_the_distance_to_the_mean_of_centred_unit_features(task: FewShotTask):
    features = task.featured.features
    scores = next(fit_centred_l2(task, [{}], features))(QUERIES, SETS)
    centre = features[task.featured.splits[Split.TRAIN]].astype(np.float64).mean(axis=0)
    for b, q, c in np.ndindex(2, 3, 3):
        query, *members = [
            (features[item] - centre) / np.linalg.norm(features[item] - centre) for item in (QUERIES[b, q], *SETS[b, c])
        ]
        assert scores[b, q, c] == pytest.approx(-np.sum((query - np.mean(members, axis=0)) ** 2), abs=1e-5)


def test_without_unit_length_lda_is_scikit_learn_s(task: FewShotTask):
    items, x = task.training_items, task.featured.features.astype(np.float64)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3, store_covariance=True)
    oracle.fit(x[items], task.featured.classes[items])
    precision = np.linalg.inv(oracle.covariance_)
    setting: Setting = {"feature_power": 1.0, "shrinkage": 0.3, "unit_length": False}
    scores = next(fit_lda(task, [setting], task.featured.features))(QUERIES, SETS)
    for b, q, c in np.ndindex(2, 3, 3):
        apart = x[QUERIES[b, q]] - x[SETS[b, c]].mean(axis=0)
        assert scores[b, q, c] == pytest.approx(-apart @ precision @ apart, rel=1e-3, abs=1e-3)


def test_with_unit_length_lda_is_the_nearest_class_mean_of_pan_s_whitened_features(task: FewShotTask):
    config = NormalisationConfig(normalisation=NormalisationKind.WHITEN, whitening_shrinkage=0.3, feature_power=0.5)
    setting: Setting = {"feature_power": 0.5, "shrinkage": 0.3, "unit_length": True}
    scores = next(fit_lda(task, [setting], task.featured.features))(QUERIES, SETS)
    expected = nearest_class_mean(normalised_features(task, config))(QUERIES, SETS)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_setting_does_not_depend_on_those_fitted_with_it(task: FewShotTask):
    settings: list[Setting] = [
        {"feature_power": power, "shrinkage": shrinkage, "unit_length": True}
        for power, shrinkage in ((1.0, 0.5), (0.5, 0.2), (0.5, 0.9), (1.0, 0.1))
    ]
    for setting, scorer in zip(settings, fit_lda(task, settings, task.featured.features), strict=True):
        alone = next(fit_lda(task, [setting], task.featured.features))
        np.testing.assert_array_equal(scorer(QUERIES, SETS), alone(QUERIES, SETS))


def test_whitening_reads_training_items_only(featured: FeaturedItems, planted: Callable[..., FeaturedItems]):
    def move(arrays: dict[str, np.ndarray]) -> None:
        arrays["features"][arrays["classes"] % 2 == 1] += 5

    items = featured.splits[Split.TRAIN]
    ours, moved = (
        whitened_features(FewShotTask(of, seed=0), of.features, feature_power=0.5, shrinkage=0.5)[items]
        for of in (featured, planted(change=move))
    )
    np.testing.assert_array_equal(ours, moved)


def test_constant_features_are_numbers(planted: Callable[..., FeaturedItems]):
    def flatten(arrays: dict[str, np.ndarray]) -> None:
        arrays["features"][:] = 1

    task = FewShotTask(planted(change=flatten), seed=0)
    for unit_length in (True, False):
        setting: Setting = {"feature_power": 0.5, "shrinkage": 0.1, "unit_length": unit_length}
        assert np.isfinite(next(fit_lda(task, [setting], task.featured.features))(QUERIES, SETS)).all()
    assert np.isfinite(next(fit_centred_l2(task, [{}], task.featured.features))(QUERIES, SETS)).all()
    assert not unit_rows(np.zeros((2, 3), np.float32)).any()
