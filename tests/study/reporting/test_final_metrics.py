"""Means and intervals against a slow computation by hand."""

import math
from typing import Any

import numpy as np
import pytest

from study.reporting.final_metrics import average_over_seeds, baseline_metrics, model_metrics, paired_differences

SEEDS = [
    {"accuracy": np.array([0.5, 0.7, 0.9, 0.2]), "recall@1": np.array([1.0, 0.0, 1.0])},
    {"accuracy": np.array([0.6, 0.8, 0.4, 0.3]), "recall@1": np.array([1.0, 1.0, 0.0])},
    {"accuracy": np.array([0.1, 0.9, 0.8, 0.6]), "recall@1": np.array([0.0, 1.0, 0.0])},
]
BASELINES = {
    "nearest_class_mean": {"accuracy": np.array([0.4, 0.7, 0.5, 0.4]), "recall@1": np.array([1.0, 0.0, 0.0])},
    "siamese_distance": {"accuracy": np.array([0.2, 0.1, 0.5, 0.9])},
}


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def deviation(values: list[float]) -> float:
    return math.sqrt(math.fsum((value - mean(values)) ** 2 for value in values) / (len(values) - 1))


def interval(values: list[float]) -> list[float]:
    half = 1.96 * deviation(values) / math.sqrt(len(values))
    return [mean(values) - half, mean(values) + half]


def averages(name: str) -> list[float]:
    return [mean([float(seed[name][question]) for seed in SEEDS]) for question in range(len(SEEDS[0][name]))]


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "recall@1"])
def test_the_model_s_interval_is_over_questions_averaged_over_seeds(name: str):
    got = model_metrics(SEEDS)[name]
    assert list(got) == ["mean", "ci95", "std_over_seeds", "per_seed"]
    assert got["mean"] == near(mean(averages(name)))
    assert got["ci95"] == near(interval(averages(name)))
    assert got["per_seed"] == near([mean(seed[name].tolist()) for seed in SEEDS])
    assert got["std_over_seeds"] == near(deviation([mean(seed[name].tolist()) for seed in SEEDS]))


def test_one_seed_has_no_deviation():
    got = model_metrics(SEEDS[:1])["accuracy"]
    assert got["std_over_seeds"] == 0.0
    assert got["per_seed"] == near([0.575])
    assert got["ci95"] == near(interval([0.5, 0.7, 0.9, 0.2]))


def test_one_question_has_no_width():
    assert model_metrics([{"accuracy": np.array([0.5])}])["accuracy"]["ci95"] == [0.5, 0.5]


def test_baselines_answer_once():
    got = baseline_metrics(BASELINES)
    assert {name: list(metrics) for name, metrics in got.items()} == {
        n: list(scores) for n, scores in BASELINES.items()
    }
    for name, scores in BASELINES.items():
        for metric, questions in scores.items():
            assert got[name][metric] == {
                "mean": near(mean(questions.tolist())),
                "ci95": near([min(max(bound, 0.0), 1.0) for bound in interval(questions.tolist())]),
            }


def test_differences_are_paired_question_by_question():
    got = paired_differences(SEEDS, BASELINES)
    assert {name: list(metrics) for name, metrics in got.items()} == {
        n: list(scores) for n, scores in BASELINES.items()
    }
    for name, scores in BASELINES.items():
        for metric, questions in scores.items():
            differences = [a - b for a, b in zip(averages(metric), questions.tolist(), strict=True)]
            assert got[name][metric] == {
                "difference": near(mean(differences)),
                "ci95": near(interval(differences)),
            }


def test_a_constant_lead_is_certain():
    ahead = {"accuracy": BASELINES["siamese_distance"]["accuracy"] + 0.25}
    paired = paired_differences([ahead, ahead], {"b": BASELINES["siamese_distance"]})["b"]["accuracy"]
    assert paired["difference"] == near(0.25)
    assert paired["ci95"] == near([0.25, 0.25])


def test_averages_keep_the_questions_apart():
    got = average_over_seeds(SEEDS)
    assert {name: scores.tolist() for name, scores in got.items()} == {
        name: near(averages(name)) for name in ("accuracy", "recall@1")
    }


def test_every_number_is_plain():
    numbers = [model_metrics(SEEDS), baseline_metrics(BASELINES), paired_differences(SEEDS, BASELINES)]

    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict | list):
            return [leaf for part in (value.values() if isinstance(value, dict) else value) for leaf in leaves(part)]
        return [value]

    assert {type(leaf) for leaf in leaves(numbers)} == {float}
