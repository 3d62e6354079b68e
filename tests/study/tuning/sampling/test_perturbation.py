"""Draws of one parameter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from study.tuning.sampling.perturbation import draw, holds, perturb

DISTRIBUTIONS: list[BaseDistribution] = [
    CategoricalDistribution(("XNOR", "OR", "AND")),
    CategoricalDistribution((1.0, 0.5, 0.25)),
    CategoricalDistribution(("only",)),
    IntDistribution(1, 512, log=True),
    IntDistribution(1, 3),
    IntDistribution(0, 10, step=5),
    IntDistribution(4, 4),
    FloatDistribution(1e-5, 10.0, log=True),
    FloatDistribution(0.0, 0.7),
    FloatDistribution(0.0, 1.0, step=0.25),
]
SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
@given(seed=SEEDS, scale=st.floats(0.01, 2))
def test_every_draw_is_a_value_that_optuna_accepts(distribution: BaseDistribution, seed: int, scale: float):
    generator = np.random.default_rng(seed)
    value = draw(distribution, generator)
    moved = perturb(value, distribution, generator, scale=scale)
    for drawn in (value, moved):
        assert holds(distribution, drawn)
        create_trial(value=0.0, params={"x": drawn}, distributions={"x": distribution})  # ValueError if it is outside
    if isinstance(distribution, CategoricalDistribution) and not distribution.single():
        assert moved != value


@pytest.mark.parametrize("outside", ["a", 11.0])
def test_a_value_that_the_distribution_lacks_is_drawn_anew(outside: str | float):
    generator = np.random.default_rng(0)
    for distribution in DISTRIBUTIONS:
        if not holds(distribution, outside):
            assert holds(distribution, perturb(outside, distribution, generator, scale=0.1))


def test_numbers_among_choices_move_to_a_neighbour():
    decays, generator = CategoricalDistribution((0.0, 0.01, 1.0, 0.1)), np.random.default_rng(0)
    assert {perturb(0.0, decays, generator, scale=0.1) for _ in range(20)} == {0.01}
    assert {perturb(0.1, decays, generator, scale=0.1) for _ in range(20)} == {0.01, 1.0}
    names = CategoricalDistribution(("XNOR", "OR", "AND"))
    assert {perturb("XNOR", names, generator, scale=0.1) for _ in range(20)} == {"OR", "AND"}


def test_half_of_the_steps_are_shorter_than_the_scale_and_some_cross_the_range():
    generator = np.random.default_rng(0)
    rates, dropouts = FloatDistribution(1e-5, 10.0, log=True), FloatDistribution(0.0, 0.8)
    steps = np.log([float(perturb(1e-3, rates, generator, scale=0.05)) for _ in range(500)]) - np.log(1e-3)
    assert np.median(np.abs(steps)) == pytest.approx(0.05 * np.log(1e6), rel=0.15)
    assert np.median(steps) == pytest.approx(0.0, abs=0.1)
    assert np.mean(np.abs(steps) > 0.25 * np.log(1e6)) == pytest.approx(0.1, abs=0.04)
    spread = [float(perturb(0.4, dropouts, generator, scale=0.1)) - 0.4 for _ in range(500)]
    assert np.median(np.abs(spread)) == pytest.approx(0.07, rel=0.15)


def test_uniform_draws_reach_all_of_a_range():
    generator = np.random.default_rng(0)
    counts = np.bincount([int(draw(IntDistribution(1, 3), generator)) for _ in range(900)])
    assert counts[1:].min() > 250
    logs = np.log10([float(draw(FloatDistribution(1e-4, 1.0, log=True), generator)) for _ in range(900)])
    assert np.histogram(logs, bins=4, range=(-4, 0))[0].min() > 180
