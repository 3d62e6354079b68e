"""Cautions: what a reader of a study's result should know before trusting it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from pan_model.flat import Scalar
from search_spaces import SearchSpace
from search_spaces.finetune import FINETUNE_OPEN_ENDS
from search_spaces.pan import OPEN_ENDS
from study.config.search_space import replay
from study.reporting.comparison import MethodScores
from study.reporting.final_metrics import FinalScores

EDGE = 0.05
"""The outer part of a range, at either end and on the range's own scale, that counts as its edge."""


def find_cautions(
    space: SearchSpace, config: Mapping[str, Scalar], epoch: int, scores: Sequence[MethodScores]
) -> list[str]:
    """What speaks against the winner: where it lies, when it was best, a baseline ahead of it, a gap from val to test.

    epoch is the best one, counted from 1.
    """
    of_scores = [*_find_defeats(scores), *_find_disagreement(scores)]
    return [*find_edges(space, config), *_find_last_epoch(config, epoch), *of_scores]


def find_foreign_final(folder: Path, final: FinalScores | None, winner: str) -> list[str]:
    """That the final training in a folder was of another trial than the winner, so that its scores do not count."""
    if final is None or final.trial_id == winner:
        return []
    return [
        f"{folder} is of trial {final.trial_id}, not of the winner {winner}; move it away and run study/final.py again"
    ]


def find_short_paper(paper: Mapping[str, Any]) -> list[str]:
    """That val liked the last epoch of the final paper_setting best, so that the baseline may be better than it seems.

    paper is what metrics.json has of it; one of an earlier time does not say of how many epochs it was chosen.
    """
    epochs, most = paper.get("epochs"), paper.get("chosen_of_epochs")
    if epochs is None or epochs != most:
        return []
    return [f"the best epoch of paper_setting, {epochs}, is the last of its epochs; with more it may be better"]


def find_edges(space: SearchSpace, config: Mapping[str, Scalar]) -> list[str]:
    """The winner's parameters that lie at an end of their range behind which there may be better ones."""
    try:
        parameters, distributions = replay(space, dict(config))
    except ValueError:  # a study of a time when the space was another
        return ["whether the winner lies at an edge is not known: its configuration is none of today's space"]
    lines: list[str] = []
    for name, distribution in distributions.items():
        if not isinstance(distribution, FloatDistribution | IntDistribution) or distribution.single():
            continue
        value = float(parameters[name])
        place = place_in_range(distribution, value)
        end = "low" if place <= EDGE else "high" if place >= 1 - EDGE else ""
        if end in (OPEN_ENDS | FINETUNE_OPEN_ENDS).get(name, ()):
            lines.append(
                f"{name} {value:g} lies at the {end} end of what was searched, {distribution.low:g} to "
                f"{distribution.high:g}; there may be better values behind it"
            )
    return lines


def place_in_range(distribution: FloatDistribution | IntDistribution, value: float) -> float:
    """Where a number lies in its range, 0 at the low end and 1 at the high end.

    >>> place_in_range(FloatDistribution(1e-4, 1.0, log=True), 1e-2)
    0.5
    """
    scale = math.log if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    return (scale(value) - low) / (high - low)


def _find_last_epoch(config: Mapping[str, Scalar], epoch: int) -> list[str]:
    if epoch != config.get("max_epochs"):
        return []
    return [f"the best epoch, {epoch}, is the last of max_epochs; more may be better"]


def _find_defeats(scores: Sequence[MethodScores]) -> list[str]:
    """Baselines that the winner is behind, on val or in the final test, by more than the interval."""
    leads = [(one.method, "val", one.val_ahead) for one in scores]
    leads += [(one.method, "test", one.test_ahead) for one in scores]
    return [f"PAN is behind {method} on {split}, {lead}" for method, split, lead in leads if lead and lead.high < 0]


def _find_disagreement(scores: Sequence[MethodScores]) -> list[str]:
    known = [(one.method, one.val, one.test) for one in scores if one.val is not None and one.test is not None]
    if not known or known[0][0] != scores[0].method:
        return []
    (_, val, test), *others = known
    if val.low <= test.high and test.low <= val.high:
        return []
    moved = "; ".join(
        f"{name} moves from {on_val.mean:.4f} to {on_test.mean:.4f}" for name, on_val, on_test in others[:1]
    )
    return [f"val and test disagree by more than their intervals, {val} and {test}" + (f" ({moved})" if moved else "")]
