"""Paired differences, against closed forms and integrals."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from pan_model.scores import Interval
from study.analysis.comparison.paired import Difference, correct, paired_by_question, paired_by_seed
from study.analysis.uncertainty import T_QUANTILES


def test_a_difference_is_the_mean_over_questions_with_the_interval_of_all_tables():
    difference = paired_by_question([1.0, 0.5, 0.75, 1.0], [0.5, 0.5, 0.5, 1.0])
    half = 1.96 * np.std([0.5, 0.0, 0.25, 0.0], ddof=1) / 2
    assert difference.count == 4
    assert difference.interval == pytest.approx((0.1875, 0.1875 - half, 0.1875 + half))


def test_the_p_value_is_that_of_the_z_test():
    generator = np.random.default_rng(0)
    method, reference = generator.random(200), generator.random(200)
    differences = method - reference
    z = differences.mean() / (differences.std(ddof=1) / np.sqrt(200))
    assert paired_by_question(method, reference).p_value == pytest.approx(2 * NormalDist().cdf(-abs(z)))


@pytest.mark.parametrize(("method", "p_value"), [([0.5, 0.5], 1.0), ([0.75, 0.75], 0.0)])
def test_without_deviation_a_difference_is_certain_or_none(method: list[float], p_value: float):
    assert paired_by_question(method, [0.5, 0.5]).p_value == p_value


def test_one_question_is_not_tested():
    difference = paired_by_question([1.0], [0.0])
    assert (difference.p_value, difference.verdict) == (None, "")


def test_seeds_have_the_interval_of_student():
    difference = paired_by_seed([0.9, 0.92, 0.91], [0.88, 0.89, 0.9])
    half = 4.303 * 0.01 / math.sqrt(3)
    assert difference.interval == pytest.approx((0.02, 0.02 - half, 0.02 + half))
    assert (difference.count, difference.p_value) == (3, None)


@pytest.mark.parametrize("degrees", range(1, len(T_QUANTILES) + 1))
def test_between_the_quantiles_lies_95_percent_of_students_distribution(degrees: int):
    t = np.linspace(0, T_QUANTILES[degrees - 1], 20001)
    scale = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2) / math.sqrt(degrees * math.pi)
    density = scale * (1 + t**2 / degrees) ** (-(degrees + 1) / 2)
    assert 2 * np.trapezoid(density, t) == pytest.approx(0.95, abs=5e-5)


def having_p(p_value: float | None, mean: float = 0.1) -> Difference:
    return Difference(interval=Interval(mean, mean - 0.05, mean + 0.05), count=9, p_value=p_value)


def test_p_values_are_corrected_by_holm():
    corrected = correct([having_p(0.01), None, having_p(0.04), having_p(0.03), having_p(None)])
    assert [None if one is None else one.corrected for one in corrected] == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.06),  # not below that of the smaller 0.03
        pytest.approx(0.06),
        None,
    ]


@pytest.mark.parametrize(("p_value", "mean", "verdict"), [(0.04, 0.1, "better"), (0.04, -0.1, "worse")])
def test_the_verdict_follows_the_corrected_value(p_value: float, mean: float, verdict: str):
    (alone,) = correct([having_p(p_value, mean)])
    assert alone is not None
    assert alone.verdict == verdict
    among_two = correct([having_p(p_value, mean), having_p(0.9)])[0]
    assert among_two is not None
    assert among_two.verdict == "not shown"
