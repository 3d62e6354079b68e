"""Draws of one parameter: from its whole distribution, or near a given value."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pan_model.flat import Scalar

Range = FloatDistribution | IntDistribution


def holds(distribution: BaseDistribution, value: Scalar) -> bool:
    """Return whether a distribution has a value."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    within = _require_range(distribution)
    return not isinstance(value, str) and within.low <= value <= within.high


def draw(distribution: BaseDistribution, generator: np.random.Generator) -> Scalar:
    """Draw a value: a choice, or a number that is uniform on the scale of the range, linear or log.

    Raises:
        TypeError: If the distribution is neither of choices nor of numbers.
    """
    if isinstance(distribution, CategoricalDistribution):
        return _choice(distribution.choices, generator)
    return _from_unit(generator.random(), _require_range(distribution))


def perturb(value: Scalar, distribution: BaseDistribution, generator: np.random.Generator, *, scale: float) -> Scalar:
    """Draw a value near a given one; if the distribution does not have that one, or no other, draw any.

    A number moves by a step on the scale of its range, linear or log, and stays within the range. Steps have a Cauchy
    distribution, as in fast evolutionary programming (Yao et al., 1999): most are short, some cross the range. A choice
    becomes another one; where all choices are numbers, the next smaller or larger one.

    Args:
        value: The value to start from.
        distribution: The distribution of the parameter.
        generator: The random numbers.
        scale: The median length of a step, in parts of the length of the range, before steps beyond it are drawn again.

    Raises:
        TypeError: If the distribution is neither of choices nor of numbers.
    """
    if not holds(distribution, value) or distribution.single():
        return draw(distribution, generator)
    if isinstance(distribution, CategoricalDistribution):
        return _choice(_neighbours(value, distribution.choices), generator)
    within = _require_range(distribution)
    start = _to_unit(float(value), within)
    while not 0 <= (moved := start + scale * generator.standard_cauchy()) <= 1:
        pass
    return _from_unit(moved, within)


def _choice(choices: Sequence[Any], generator: np.random.Generator) -> Any:
    return choices[int(generator.integers(len(choices)))]


def _neighbours(value: Scalar, choices: Sequence[Any]) -> Sequence[Any]:
    """Return the other choices, or those next to the value if all choices are numbers."""
    if any(isinstance(choice, str | bool) for choice in choices):
        return [choice for choice in choices if choice != value]
    ordered = sorted(choices)
    place = ordered.index(value)
    return ordered[max(place - 1, 0) : place] + ordered[place + 1 : place + 2]


def _require_range(distribution: BaseDistribution) -> Range:
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"a distribution must be of choices or of numbers, got {distribution}")
    return distribution


def _ends(distribution: Range) -> tuple[float, float]:
    """Return the ends of a range on its scale; half a step is added, so that rounding draws the ends as often."""
    half = 0.0 if distribution.step is None else distribution.step / 2
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def _to_unit(value: float, distribution: Range) -> float:
    low, high = _ends(distribution)
    return ((math.log(value) if distribution.log else value) - low) / (high - low)


def _from_unit(unit: float, distribution: Range) -> float:
    low, high = _ends(distribution)
    value = low + unit * (high - low)
    value = math.exp(value) if distribution.log else value
    if distribution.step is not None:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value
