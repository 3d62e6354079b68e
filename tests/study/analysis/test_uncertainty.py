"""Uncertainty over trials, against slow loops, closed forms and simulated coverage."""

import math

import numpy as np
import pytest

from study.analysis.uncertainty import (
    chance_of_groups,
    interval_of_median,
    interval_of_trials,
    kendall,
    spearman,
    upper_bound,
)


@pytest.mark.parametrize("count", [3, 8, 30, 60])
def test_interval_of_a_mean_covers_it_in_95_of_100_samples(count: int) -> None:
    generator = np.random.default_rng(count)
    samples = generator.normal(0.5, 0.02, (2000, count)).tolist()
    covered = [interval.low <= 0.5 <= interval.high for sample in samples if (interval := interval_of_trials(sample))]
    assert 0.935 <= np.mean(covered) <= 0.965


@pytest.mark.parametrize("count", [6, 9, 17, 40])
def test_interval_of_a_median_covers_it_for_skewed_values(count: int) -> None:
    generator = np.random.default_rng(count)
    samples = generator.exponential(size=(2000, count))
    covered = [low <= math.log(2) <= high for low, high in map(interval_of_median, samples.tolist())]
    assert np.mean(covered) >= 0.94


def slow_kendall(first: list[float], second: list[float]) -> float:
    """Return tau-b pair by pair."""
    agree = untied_1 = untied_2 = 0
    for i in range(len(first)):
        for j in range(i):
            sign_1, sign_2 = np.sign(first[i] - first[j]), np.sign(second[i] - second[j])
            agree += sign_1 * sign_2
            untied_1 += sign_1 != 0
            untied_2 += sign_2 != 0
    return agree / math.sqrt(untied_1 * untied_2)


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlations_equal_their_definitions(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.integers(0, 9, (2, 12)).tolist()
    assert kendall(first, second).mean == pytest.approx(slow_kendall(first, second))
    # Without ties: 1 - 6 sum d^2 / (n (n^2 - 1)).
    first, second = (generator.permutation(12).tolist() for _ in range(2))
    squares = sum((a - b) ** 2 for a, b in zip(first, second, strict=True))
    assert spearman(first, second).mean == pytest.approx(1 - 6 * squares / (12 * 143))


def test_rank_correlation_of_1_still_has_an_interval() -> None:
    order = list(range(10))
    for correlation in (spearman(order, order), kendall(order, order)):
        assert correlation.mean == pytest.approx(1)
        assert 0.8 < correlation.low < 1
        assert correlation.high == pytest.approx(1)
    assert spearman(order, order[::-1]).mean == pytest.approx(-1)


def test_rank_correlation_needs_trials_that_differ() -> None:
    assert spearman([1, 2, 3], [1, 2, 3]) is None
    assert kendall([1] * 8, list(range(8))) is None


@pytest.mark.parametrize("total", [1, 5, 100, 1000])
def test_upper_bound_without_events_is_the_closed_form(total: int) -> None:
    assert upper_bound(0, total) == pytest.approx(1 - 0.05 ** (1 / total))
    assert upper_bound(0, total) <= 3 / total


def test_upper_bound_is_where_so_few_events_have_a_chance_of_5_percent() -> None:
    bound = upper_bound(2, 20)
    few = sum(math.comb(20, k) * bound**k * (1 - bound) ** (20 - k) for k in range(3))
    assert few == pytest.approx(0.05)
    assert upper_bound(20, 20) == 1


def test_groups_without_difference_are_found_different_in_5_of_100_cases() -> None:
    generator = np.random.default_rng(1)
    chances = [chance_of_groups(generator.normal(size=(3, 5)).tolist()) for _ in range(60)]
    assert np.mean(np.array(chances) < 0.05) <= 0.1


def test_groups_that_differ_are_found() -> None:
    assert chance_of_groups([[0.1, 0.2, 0.15, 0.12], [0.5, 0.6, 0.55, 0.52, 0.51], [0.9]]) < 0.05


def test_groups_so_small_that_no_difference_could_count_are_not_tested() -> None:
    assert chance_of_groups([[0.1, 0.2, 0.3], [0.7, 0.8, 0.9]]) is None
    assert chance_of_groups([[0.1, 0.2, 0.3], [0.9, 0.8], [0.9]]) is None
