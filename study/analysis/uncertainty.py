"""Uncertainty of numbers over trials: the interval of a mean, rank correlations, and a bound on a rare event."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pan_model.scores import Interval

MIN_TRIALS = 3
"""Number of trials from which a mean has an interval."""

CHANCE = 0.01
"""A chance below which a difference of groups counts. It is strict because a page shows six effects."""

MIN_RANKED = 6
"""Number of trials from which a rank correlation is computed; its interval is wide until about 20."""

NUM_SHUFFLES = 999
"""Number of random orders of a permutation test."""

T_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""The 0.975 quantile of Student's t distribution for 1 to 30 degrees of freedom."""


def t_quantile(degrees: int) -> float:
    """Return the 0.975 quantile of Student's t distribution, rounded to 0.003 beyond 30 degrees of freedom.

    >>> t_quantile(4), round(t_quantile(60), 3)
    (2.776, 2.0)
    """
    return T_QUANTILES[degrees - 1] if degrees <= len(T_QUANTILES) else 1.96 + 2.4 / degrees


def interval_of_trials(values: Sequence[float]) -> Interval | None:
    """Return the mean over trials and its 95% interval (Student's t), clipped to 0 to 1, where all metrics lie.

    Return None if there are fewer than `MIN_TRIALS` trials.

    >>> str(interval_of_trials([0.5, 0.6, 0.7])), interval_of_trials([0.5, 0.6])
    ('0.6000 [0.3516, 0.8484]', None)
    """
    n = len(values)
    if n < MIN_TRIALS:
        return None
    mean = math.fsum(values) / n
    half = t_quantile(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(mean, max(mean - half, 0.0), min(mean + half, 1.0))


def interval_of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95% interval of the median between two of the values, whatever their distribution.

    Of n independent values, the k-th smallest and the k-th largest enclose the median unless fewer than k are on one
    side of it. Return None below 6 values: the smallest and the largest of 5 do so with 94%.

    >>> interval_of_median([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), interval_of_median([0.1, 0.2, 0.3, 0.4, 0.5])
    ((0.1, 0.6), None)
    """
    n, outside, k = len(values), 0.0, 0
    while (outside := outside + 2 * math.comb(n, k) / 2**n) <= 0.05:
        k += 1
    in_order = sorted(values)
    return (in_order[k - 1], in_order[n - k]) if k else None


def ranks(values: Sequence[float]) -> np.ndarray:
    """Return the ranks of values from 1; equal values share the mean of their ranks.

    >>> ranks([0.2, 0.1, 0.2]).tolist()
    [2.5, 1.0, 2.5]
    """
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def spearman(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Return Spearman's rank correlation with its 95% interval.

    The interval is Fisher's, with the variance 1.06 / (n - 3) of ranks (Fieller et al., 1957). So that it has a width
    for a correlation of 1, this counts as half a swap of two neighbours.

    Returns:
        None if there are fewer than `MIN_RANKED` pairs, or all values of one side are equal.
    """
    n = len(first)
    if not _can_rank(first, second):
        return None
    correlation = float(np.corrcoef(ranks(first), ranks(second))[0, 1])
    return _fisher(correlation, half_swap=6 / (n * (n * n - 1)), error=math.sqrt(1.06 / (n - 3)))


def kendall(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Return Kendall's tau-b with its 95% interval, as `spearman` with the variance 0.437 / (n - 4)."""
    n = len(first)
    if not _can_rank(first, second):
        return None
    order_1, order_2 = (
        np.sign(np.subtract.outer(values, values)) for values in (np.asarray(first), np.asarray(second))
    )
    correlation = float((order_1 * order_2).sum() / math.sqrt((order_1**2).sum() * (order_2**2).sum()))
    return _fisher(correlation, half_swap=2 / (n * (n - 1)), error=math.sqrt(0.437 / (n - 4)))


def _can_rank(first: Sequence[float], second: Sequence[float]) -> bool:
    return len(first) >= MIN_RANKED and len(set(first)) > 1 and len(set(second)) > 1


def _fisher(correlation: float, *, half_swap: float, error: float) -> Interval:
    middle = math.atanh(min(max(correlation, half_swap - 1), 1 - half_swap))
    low, high = (math.tanh(middle + sign * 1.96 * error) for sign in (-1, 1))
    return Interval(correlation, min(low, correlation), max(high, correlation))


def upper_bound(count: int, total: int, confidence: float = 0.95) -> float:
    """Return the Clopper-Pearson upper bound of a probability: an event was seen `count` times in `total` cases.

    With 0 events it is nearly 3 / total (the rule of three). Without any case it is 1.

    >>> round(upper_bound(0, 30), 3), round(3 / 30, 3), upper_bound(0, 0)
    (0.095, 0.1, 1.0)
    """
    if count >= total:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection: the probability at which so few events have a chance of 1 - confidence
        middle = (low + high) / 2
        few = math.fsum(math.comb(total, k) * middle**k * (1 - middle) ** (total - k) for k in range(count + 1))
        low, high = (middle, high) if few > 1 - confidence else (low, middle)
    return (low + high) / 2


def chance_of_groups(groups: Sequence[Sequence[float]], seed: int = 0) -> float | None:
    """Return the chance that groups without any difference would differ as much (a permutation test on ranks).

    The statistic is that of Kruskal and Wallis. Groups of fewer than `MIN_TRIALS` values are left out.

    Returns:
        The p-value, at least 1 / (NUM_SHUFFLES + 1); None if fewer than two groups remain, or so few values that no
        difference of the groups could have a p-value below `CHANCE`, such as two groups of three.

    >>> low, high = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.7, 0.8, 0.9, 1.0, 1.1, 1.2]
    >>> chance_of_groups([low, high]) < CHANCE, chance_of_groups([low[:3], high[:3]])
    (True, None)
    """
    kept = [list(group) for group in groups if len(group) >= MIN_TRIALS]
    if len(kept) < 2 or _smallest_chance([len(group) for group in kept]) > CHANCE:
        return None
    ranked = ranks([value for group in kept for value in group])
    group_of = np.repeat(np.arange(len(kept)), [len(group) for group in kept])
    sizes = np.bincount(group_of)
    generator = np.random.default_rng(seed)
    orders = generator.permuted(np.tile(ranked, (NUM_SHUFFLES, 1)), axis=1)
    is_in = (group_of[:, None] == np.arange(len(kept))).astype(float)
    spread = ((np.vstack([ranked, orders]) @ is_in) ** 2 / sizes).sum(axis=1)
    return (int((spread[1:] >= spread[0] - 1e-9).sum()) + 1) / (NUM_SHUFFLES + 1)


def _smallest_chance(sizes: Sequence[int]) -> float:
    """Return the p-value of groups without any overlap: the share of orders with this statistic.

    >>> _smallest_chance([3, 3]), _smallest_chance([3, 4]) == 1 / 35
    (0.1, True)
    """
    orders = math.factorial(sum(sizes)) // math.prod(map(math.factorial, sizes))
    return math.prod(map(math.factorial, Counter(sizes).values())) / orders
