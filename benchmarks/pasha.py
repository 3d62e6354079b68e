"""PASHA on recorded learning curves: ASHA with promotion whose maximum number of epochs grows only when it must.

Bohdal et al. (ICLR 2023), "PASHA: Efficient HPO and NAS with Progressive Resource Allocation", with its soft ranking.
A trial is trained to the first rung and paused. It is resumed when it is among the best 1 / eta of its rung, rounded
down, and trained to the next one. At first only two rungs are open. When a trial reaches the top open rung, the ranking
of the trials on it is compared with theirs on the rung below; if the two disagree, one more rung opens. With all rungs
open from the start it is ASHA with promotion (Li et al., 2020).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

Curve = Sequence[float]
"""The value of a trial after each epoch, higher is better."""

Rung = dict[int, float]
"""The value of each trial that reached a rung, after the epoch of the rung."""


@dataclass(frozen=True, kw_only=True)
class PashaRun:
    """What PASHA did.

    Attributes:
        epochs: The number of epochs that each trial ran. A resumed trial continues where it was paused.
        max_epochs: The epoch of the top open rung at the end.
        winner: The trial with the best value after any of the epochs it ran, whichever rung it reached; of equal
            ones, the trial that started first.
    """

    epochs: Sequence[int]
    max_epochs: int
    winner: int


def run_pasha(
    curves: Sequence[Curve],
    max_epochs: int,
    *,
    eta: int = 3,
    open_rungs: int | None = 2,
    never_paused: Collection[int] = (),
) -> PashaRun:
    """Run PASHA with one worker until all trials have started and none can be promoted.

    A worker that is free resumes the best trial that can be promoted, from the highest rung that has one; if there is
    none, it starts the next trial. A trial whose curve ends before a rung does not reach it.

    Args:
        curves: The whole curve of each trial, in the order in which they start.
        max_epochs: The epoch of the last rung.
        eta: The factor between two rungs.
        open_rungs: The number of rungs that are open at the start, at least 2; None opens all.
        never_paused: Trials that run to their end when they start. They climb the rungs as they would otherwise.

    >>> run = run_pasha([[0.5, 0.6, 0.7], [0.3, 0.3, 0.3], [0.4, 0.9, 0.9]], 9)
    >>> run.epochs, run.max_epochs, run.winner
    ([3, 1, 1], 3, 0)
    """
    levels = rung_levels(max_epochs, eta)
    rungs: list[Rung] = [{} for _ in levels]
    epochs, promoted = [0] * len(curves), set[tuple[int, int]]()
    top, epsilon = min(open_rungs or len(levels), len(levels)) - 1, 0.0
    waiting = iter(range(len(curves)))
    while (job := _next_job(curves, levels[: top + 1], rungs, promoted, eta, waiting)) is not None:
        trial, place = job
        promoted.add((trial, place - 1))
        ran = len(curves[trial]) if trial in never_paused else min(levels[place], len(curves[trial]))
        epochs[trial] = max(epochs[trial], ran)
        if len(curves[trial]) < levels[place]:
            continue
        rungs[place][trial] = curves[trial][levels[place] - 1]
        if place == top < len(levels) - 1:
            seen = [curve[:ran] for curve, ran in zip(curves, epochs, strict=True)]
            noise = ranking_noise(seen, levels[top - 1], levels[top])
            epsilon = epsilon if noise is None else noise
            top += not same_ranking(rungs[top], rungs[top - 1], epsilon)
    best_seen = [max(curve[:ran]) for curve, ran in zip(curves, epochs, strict=True)]
    return PashaRun(epochs=epochs, max_epochs=levels[top], winner=int(np.argmax(best_seen)))


def rung_levels(max_epochs: int, eta: int) -> list[int]:
    """Return the epochs of the rungs: 1, eta, eta squared, ..., and the last epoch.

    >>> rung_levels(20, 3), rung_levels(9, 3), rung_levels(1, 3)
    ([1, 3, 9, 20], [1, 3, 9], [1])
    """
    levels = [1]
    while levels[-1] < max_epochs:
        levels.append(min(levels[-1] * eta, max_epochs))
    return levels


def _next_job(
    curves: Sequence[Curve],
    open_levels: Sequence[int],
    rungs: Sequence[Rung],
    promoted: Collection[tuple[int, int]],
    eta: int,
    waiting: Iterator[int],
) -> tuple[int, int] | None:
    """Return the trial that a worker takes, and the place of the rung it is trained to; None if nothing is left."""
    for place in reversed(range(len(open_levels) - 1)):
        ranked = _ranked(rungs[place])
        for trial in ranked[: len(ranked) // eta]:
            if (trial, place) not in promoted and len(curves[trial]) > open_levels[place]:
                return trial, place + 1
    trial = next(waiting, None)
    return None if trial is None else (trial, 0)


def same_ranking(top: Mapping[int, float], below: Mapping[int, float], epsilon: float) -> bool:
    """Return whether the trials on the top rung are ranked as on the rung below, up to differences of epsilon.

    At each place of the ranking, the trial of the top rung must have had, on the rung below, a value within epsilon
    of that of the trial at this place there.

    >>> same_ranking({0: 0.7, 1: 0.8}, {0: 0.55, 1: 0.5, 2: 0.1}, 0.01)
    False
    >>> same_ranking({0: 0.7, 1: 0.8}, {0: 0.55, 1: 0.5, 2: 0.1}, 0.1)
    True
    """
    before = _ranked({trial: below[trial] for trial in top})
    return all(abs(below[now] - below[then]) <= epsilon for now, then in zip(_ranked(top), before, strict=True))


def ranking_noise(seen: Sequence[Curve], below: int, top: int) -> float | None:
    """Return epsilon: the distance that pairs of trials have whose curves cross at least twice, or None without such.

    Curves that cross and cross back differ by noise only. It is the 90th percentile, over the pairs that both ran
    beyond the rung below, of the distance after the latest epoch that both ran, at most that of the top rung.

    Args:
        seen: The curve of each trial as far as it ran.
        below: The epoch of the rung below the top.
        top: The epoch of the top rung.

    >>> round(ranking_noise([[0.5, 0.5, 0.5], [0.4, 0.6, 0.3], [0.1, 0.2, 0.9]], 1, 3), 3)
    0.2
    """
    distances: list[float] = []
    for first, second in combinations([np.asarray(curve[:top]) for curve in seen if len(curve) > below], 2):
        both = min(len(first), len(second))
        crossings = np.count_nonzero(np.diff(first[:both] > second[:both]))
        if crossings >= 2:
            distances.append(abs(float(first[both - 1] - second[both - 1])))
    return float(np.percentile(distances, 90)) if distances else None


def _ranked(rung: Mapping[int, float]) -> list[int]:
    """Return the trials of a rung, the best first; of equal ones, the trial that reached it first."""
    return sorted(rung, key=lambda trial: -rung[trial])
