"""The classifier of each episode; scikit-learn is the oracle."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pan_model.data.splits import Split
from pan_model.scoring.baselines.choice import choose_baseline, settings_of
from pan_model.scoring.baselines.logistic_regression import logistic_regression
from pan_model.scoring.baselines.untrained import nearest_class_mean
from pan_model.tasks.few_shot import FewShotTask

QUERIES = np.array([[0, 5, 9], [7, 7, 3]])
SETS = np.array([[[1, 2], [3, 4], [6, 8]], [[8, 9], [0, 1], [10, 11]]])


@pytest.mark.parametrize("c", [0.3, 10.0])
def test_probabilities_are_those_of_scikit_learn_on_each_scaled_support(c: float, task: FewShotTask):
    features = task.featured.features.astype(np.float64)
    scores = logistic_regression(task.featured.features, c)(QUERIES, SETS)
    for b in range(2):
        support = SETS[b].ravel()
        scaled = features / np.sqrt((features[support] ** 2).sum(axis=1).mean())
        oracle = LogisticRegression(C=c, tol=1e-8, max_iter=1000).fit(scaled[support], [0, 0, 1, 1, 2, 2])
        powers = np.exp(scores[b])
        expected = oracle.predict_proba(scaled[QUERIES[b]])
        np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), expected, atol=1e-4)


def test_sets_of_one_item_are_compared_by_the_cosine(task: FewShotTask):
    features = task.featured.features
    scores, cosines = (
        scorer(QUERIES, SETS[:, :, :1]) for scorer in (logistic_regression(features, 1.0), nearest_class_mean(features))
    )
    np.testing.assert_array_equal(scores, cosines)
    full = task.evaluate_fully(logistic_regression(features, 1.0), Split.TEST)
    assert (
        full["recall@1"].tolist() == task.evaluate_fully(nearest_class_mean(features), Split.TEST)["recall@1"].tolist()
    )


def test_the_penalty_is_chosen_on_val_and_only_its_items_are_read(noisy_task: FewShotTask):
    items = noisy_task.featured.splits[Split.VAL]
    inputs = np.full_like(noisy_task.featured.features, np.nan)
    inputs[items] = noisy_task.featured.features[items]
    chosen = choose_baseline("logistic_regression", noisy_task, inputs=inputs)
    values = {
        setting["c"]: noisy_task.evaluate(logistic_regression(inputs, float(setting["c"])), Split.VAL)[
            "few_shot_accuracy"
        ].mean()
        for setting in settings_of("logistic_regression", noisy_task)
    }
    assert values[chosen.setting["c"]] == max(values.values()) == chosen.scores["few_shot_accuracy"].mean()
    assert max(values.values()) > 0.5
