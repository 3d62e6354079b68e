"""Attributes alone; scikit-learn is the oracle of their regressions, PAN's labels of pairs that of the gates."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pan_model.data.featured_items import FeaturedItems
from pan_model.model.gates import Gate, condition_targets
from pan_model.scoring.baselines.attributes_only import (
    SETTINGS,
    expected_gate,
    fit_attributes_only,
    fit_regressions,
    gate_scorer,
    has_attributes,
)
from pan_model.scoring.baselines.choice import choose_baseline, names_of
from pan_model.scoring.baselines.principal_components import principal_components
from pan_model.tasks.few_shot import FewShotTask

NEVER_CERTAIN = 3


@pytest.mark.parametrize("gate", Gate)
def test_a_gate_of_certain_predictions_is_the_share_of_pan_s_labels(gate: Gate):
    truths = np.random.default_rng(0).random((2, 6, 5)) < 0.5
    expected = [
        [
            float(condition_targets(torch.from_numpy(a[None]), torch.from_numpy(b[None]), gate).double().mean())
            for b in truths[1]
        ]
        for a in truths[0]
    ]
    np.testing.assert_allclose(
        expected_gate(truths[0].astype(np.float64), truths[1].astype(np.float64), gate), expected, atol=1e-12
    )


@pytest.mark.parametrize("gate", Gate)
def test_a_gate_of_probabilities_is_its_expected_label(gate: Gate):
    generator = np.random.default_rng(1)
    p, q = generator.random((2, 4))
    draws = generator.random((2, 40_000, 4)) < np.array([p, q])[:, None]
    sampled = condition_targets(torch.from_numpy(draws[0]), torch.from_numpy(draws[1]), gate).double().mean()
    assert expected_gate(p[None], q[None], gate)[0, 0] == pytest.approx(float(sampled), abs=0.01)


def test_a_set_s_score_is_the_mean_over_its_items():
    probabilities = np.random.default_rng(2).random((12, 5))
    queries, sets = np.array([[0, 5], [7, 3]]), np.array([[[1, 2], [3, 4], [5, 9]], [[8, 7], [0, 1], [10, 11]]])
    scores = gate_scorer(probabilities, Gate.AND_XOR)(queries, sets)
    for b, q, c in np.ndindex(scores.shape):
        of_items = expected_gate(probabilities[queries[b, q]][None], probabilities[sets[b, c]], Gate.AND_XOR)
        assert scores[b, q, c] == pytest.approx(of_items.mean())


def test_regressions_are_those_of_scikit_learn_on_certain_labels(task: FewShotTask):
    items, penalty = task.training_items, 0.05
    inputs = principal_components(task.featured.features, items, 256)[torch.from_numpy(items)]
    kept = np.arange(8) != NEVER_CERTAIN
    labels, certain = task.featured.attributes[items][:, kept], task.featured.certain[items][:, kept]
    weights, biases = fit_regressions(inputs, torch.from_numpy(labels), torch.from_numpy(certain), penalty)
    x = inputs.double().numpy()
    for attribute in range(7):
        rows = certain[:, attribute]
        oracle = LogisticRegression(C=1 / (penalty * len(items)), tol=1e-8, max_iter=1000)
        oracle.fit(x[rows], labels[rows, attribute])
        expected = oracle.decision_function(x)
        found = (inputs @ weights + biases)[:, attribute].numpy()
        np.testing.assert_allclose(found, expected, atol=0.02)


def test_planted_attributes_tell_classes_apart_by_agreement(task: FewShotTask):
    chosen = choose_baseline("attributes_only", task)
    assert chosen.setting in SETTINGS
    assert chosen.setting["gate"] in {"XNOR", "cosine", "AND"}
    assert chosen.scores["few_shot_accuracy"].mean() > 0.6  # chance is 0.2


def test_labels_of_other_splits_and_uncertain_ones_do_not_matter(
    featured: FeaturedItems, planted: Callable[..., FeaturedItems]
):
    def flip(arrays: dict[str, Any]) -> None:
        ignored = ~arrays["certain"] | (arrays["classes"] % 2 == 1)[:, None]
        arrays["attributes"] = arrays["attributes"] ^ ignored

    ours, flipped = (
        next(fit_attributes_only(FewShotTask(of, seed=0), SETTINGS[:1], of.features))
        for of in (featured, planted(change=flip))
    )
    queries, sets = np.arange(6)[None], np.arange(6, 18).reshape(1, 4, 3)
    np.testing.assert_allclose(ours(queries, sets), flipped(queries, sets), atol=1e-5)


def test_without_labels_of_both_kinds_there_is_no_such_baseline(planted: Callable[..., FeaturedItems]):
    def hide(arrays: dict[str, Any]) -> None:
        arrays["certain"][:] = False

    task = FewShotTask(planted(change=hide), seed=0)
    assert not has_attributes(task)
    assert "attributes_only" not in names_of(task)
