"""The range of values that a chart shows: that of the trials that learnt something, not of the few that did not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

FENCE = 1.5
"""Interquartile ranges below the first quartile (Tukey's fence) beyond which a value is not drawn at its place."""

PAD = 0.06
"""Share of the range that is added at both ends."""


@dataclass(frozen=True, kw_only=True)
class Focus:
    """A range of values to draw.

    Attributes:
        low: The lowest value that is drawn at its place.
        high: The highest one.
        num_outside: The number of values beyond, which are drawn at the edge.
    """

    low: float
    high: float
    num_outside: int

    @property
    def padded(self) -> list[float]:
        """The range with room at both ends."""
        pad = max((self.high - self.low) * PAD, 1e-4)
        return [self.low - pad, self.high + pad]

    def is_outside(self, value: float) -> bool:
        """Return whether a value is drawn at the edge, hollow."""
        return not self.low <= value <= self.high

    def clip(self, value: float) -> float:
        """Return a value, or the edge if it lies beyond."""
        return min(max(value, self.low), self.high)


def find_focus(values: Sequence[float], mode: Literal["max", "min"] | str = "max") -> Focus:
    """Return the range of values without those that are far worse than most; the best is always in it.

    Args:
        values: The values of the trials.
        mode: "max" if higher is better.

    >>> find_focus([0.97, 0.96, 0.95, 0.94, 0.2])
    Focus(low=0.94, high=0.97, num_outside=1)
    """
    if not values:
        return Focus(low=0.0, high=1.0, num_outside=0)
    sign = 1.0 if mode == "max" else -1.0
    signed = sign * np.asarray(values, dtype=np.float64)
    first, third = np.quantile(signed, (0.25, 0.75))
    kept = signed[signed >= first - FENCE * (third - first)]
    ends = sorted((sign * float(kept.min()), sign * float(kept.max())))
    return Focus(low=ends[0], high=ends[1], num_outside=len(values) - len(kept))
