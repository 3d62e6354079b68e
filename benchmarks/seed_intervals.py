"""Means and differences over study seeds, with intervals of the t distribution, and Markdown tables of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over n study seeds with its 95% confidence interval: mean +- t(n - 1) s / sqrt(n); NaN below two seeds."""

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half

    def __str__(self) -> str:
        if self.n == 0:
            return ""
        ends = "" if self.n == 1 else f" [{self.low:+.4f}, {self.high:+.4f}]"
        return f"{self.mean:+.4f}{ends}"


def interval_of(values: Sequence[float]) -> Interval:
    """Return the mean of independent values, one for each seed, and its interval.

    >>> interval_of([0.01, 0.02, 0.03])
    Interval(mean=0.02, half=0.0248..., n=3)
    """
    array = np.asarray(values, dtype=np.float64)
    n = len(array)
    if n == 0:
        return Interval(math.nan, math.nan, 0)
    if n == 1:
        return Interval(float(array[0]), math.nan, 1)
    factor = float(student_t.ppf((1 + LEVEL) / 2, n - 1))
    return Interval(float(array.mean()), factor * float(array.std(ddof=1)) / math.sqrt(n), n)


def paired(ours: dict[int, float], peer: dict[int, float]) -> Interval:
    """Return the mean difference over the seeds that both have, by seed, with its interval."""
    return interval_of([ours[seed] - peer[seed] for seed in sorted(ours.keys() & peer.keys())])


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers.

    >>> print(markdown(["arm", "epochs"], [["tpe", "300"]]))
    | arm | epochs |
    | --- | ---: |
    | tpe | 300 |
    """
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
