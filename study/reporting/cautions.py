"""Cautions: reasons to doubt a study's result."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from pan_model.data.splits import Split
from pan_model.flat import Scalar
from search_spaces import SearchSpace
from search_spaces.finetune import FINETUNE_OPEN_ENDS
from search_spaces.pan import OPEN_ENDS
from study.config.search_space import replay
from study.config.space_description import number_text
from study.reporting.comparison import Lead, MethodScores, rank_baselines
from study.reporting.final_metrics import FinalScores
from study.trials.question_scores import describe_lead

UNTRAINED = ("nearest_class_mean", "centred_l2", "nearest_class_mean_normalised", "reranked", "siamese_distance")
"""The baselines that train nothing."""

ATTRIBUTES_ONLY = "attributes_only"
"""The baseline that compares images by predictions of their attributes."""

EDGE = 0.05
"""The share of a range, at either end and on the scale of the range, that counts as its edge."""


def find_cautions(
    space: SearchSpace,
    config: Mapping[str, Scalar],
    epoch: int,
    scores: Sequence[MethodScores],
    recorded: Mapping[str, Any] | None = None,
    configs: Sequence[Mapping[str, Scalar]] = (),
) -> list[str]:
    """Return the cautions about a winner.

    They are: a parameter at the edge of its range, a best epoch that is the last, a lead over baselines that cannot be
    claimed, and scores on val and test that disagree.

    Args:
        space: The search space with all encoders.
        config: The winner's configuration.
        epoch: The winner's best epoch, counted from 1.
        scores: The scores of PAN, first, and of the baselines.
        recorded: The search space as study.json records it; None if it does not.
        configs: The configurations of all trials.
    """
    return [
        *find_edges(space, config, recorded, configs),
        *_find_last_epoch(config, epoch),
        *find_weak_leads(scores),
        *_find_disagreement(scores),
    ]


def find_foreign_final(folder: Path, final: FinalScores | None, winner: str) -> list[str]:
    """Return a caution if a final training was not of the winner; its scores then do not count.

    Args:
        folder: The folder of the final training, for the message.
        final: The scores of the final training, None if there was none.
        winner: The id of the winner.
    """
    if final is None or final.trial_id == winner:
        return []
    return [
        f"{folder} is of trial {final.trial_id}, not of the winner {winner}; move it away and run study/final.py again"
    ]


def find_short_paper(paper: Mapping[str, Any]) -> list[str]:
    """Return a caution if the best epoch of the final paper_setting is the last, so more epochs may improve it.

    Args:
        paper: The entry paper_setting of metrics.json; those of earlier releases lack chosen_of_epochs.
    """
    epochs, max_epochs = paper.get("epochs"), paper.get("chosen_of_epochs")
    if epochs is None or epochs != max_epochs:
        return []
    return [f"the best epoch of paper_setting, {epochs}, is the last of its epochs; with more it may be better"]


def find_edges(
    space: SearchSpace,
    config: Mapping[str, Scalar],
    recorded: Mapping[str, Any] | None = None,
    configs: Sequence[Mapping[str, Scalar]] = (),
) -> list[str]:
    """Return a caution for each parameter of the winner at an edge of its range beyond which values may be better.

    An end counts if `search_spaces` lists it among the open ones, or if --range chose it and the model accepts values
    beyond it. A parameter that has one value in all trials, such as in a short study, shows nothing about its range.

    Args:
        space: The search space with all encoders, which is used if none is recorded.
        config: The winner's configuration.
        recorded: The search space as study.json records it; None if it does not.
        configs: The configurations of all trials.
    """
    ranges = _recorded_ranges(recorded, config) if recorded else _ranges_in(space, config)
    if ranges is None:  # the study was begun with another space
        return ["whether the winner lies at an edge is not known: its configuration is not in the present search space"]
    lines: list[str] = []
    for name, (distribution, chosen_ends) in ranges.items():
        if distribution.single() or len({other[name] for other in configs if name in other}) == 1:
            continue
        value = float(config[name])
        place = place_in_range(distribution, value)
        end = "low" if place <= EDGE else "high" if place >= 1 - EDGE else ""
        searched = f"{number_text(distribution.low)} to {number_text(distribution.high)}"
        if end in chosen_ends:
            what = f"--range, {searched}"
        elif end in (OPEN_ENDS | FINETUNE_OPEN_ENDS).get(name, ()):
            what = f"what was searched, {searched}"
        else:
            continue
        lines.append(f"{name} {value:g} lies at the {end} end of {what}; there may be better values beyond it")
    return lines


Ranges = dict[str, tuple[FloatDistribution | IntDistribution, Sequence[str]]]
"""The searched range of each parameter, and the ends that --range chose."""


def _ranges_in(space: SearchSpace, config: Mapping[str, Scalar]) -> Ranges | None:
    """Return the ranges of a configuration's parameters; None if it is not in the space."""
    try:
        distributions = replay(space, dict(config)).distributions
    except ValueError:
        return None
    return {
        name: (distribution, ())
        for name, distribution in distributions.items()
        if isinstance(distribution, FloatDistribution | IntDistribution)
    }


def _recorded_ranges(recorded: Mapping[str, Any], config: Mapping[str, Scalar]) -> Ranges:
    kinds = {"int": IntDistribution, "float": FloatDistribution}
    return {
        name: (kinds[record["type"]](record["low"], record["high"], log=record["log"]), record.get("chosen_ends", ()))
        for name, record in recorded["parameters"].items()
        if "choices" not in record and name in config
    }


def place_in_range(distribution: FloatDistribution | IntDistribution, value: float) -> float:
    """Return the position of a number in its range, from 0 at the low end to 1 at the high end.

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


def find_weak_leads(scores: Sequence[MethodScores]) -> list[str]:
    """Return cautions about leads of PAN that cannot be claimed, on val and on test.

    There is one for each baseline that is better by more than the interval. If the best is not, but PAN is not ahead
    of it by more than the interval either, there is one for it. What PAN adds to the attributes has its own caution.

    Args:
        scores: The scores of PAN and the baselines.
    """
    return [line for split in (Split.VAL, Split.TEST) for line in _weak_leads(rank_baselines(scores, split), split)]


def _weak_leads(leads: Sequence[Lead], split: Split) -> Iterator[str]:
    for place, (method, _, ahead) in enumerate(leads):
        if method == ATTRIBUTES_ONLY and ahead.low <= 0:
            yield (
                f"no gain of PAN over {method} can be claimed on {split}, where it is {describe_lead(ahead)}: linear "
                "predictions of the attributes alone may do as well"
            )
        elif ahead.high < 0:
            yield f"PAN is behind {method} on {split} by {-ahead}"
        elif place == 0 and ahead.low <= 0:
            yield (
                f"PAN is not ahead of {method}, the best baseline on {split}, by more than the interval: it is "
                f"{describe_lead(ahead)}"
            )


def _find_disagreement(scores: Sequence[MethodScores]) -> list[str]:
    tested = [(method.method, method.val, method.test) for method in scores if method.val and method.test]
    if not tested or tested[0][0] != scores[0].method:
        return []
    (_, val, test), *baselines = tested
    if val.low <= test.high and test.low <= val.high:
        return []
    moved = "; ".join(
        f"{name} moves from {on_val.mean:.4f} to {on_test.mean:.4f}" for name, on_val, on_test in baselines[:1]
    )
    text = f"val and test disagree by more than their intervals, {val} and {test}" + (f" ({moved})" if moved else "")
    return [text + _consequence(scores, test.mean - val.mean)]


def _consequence(scores: Sequence[MethodScores], moved: float) -> str:
    """Return what follows if the methods without training move as PAN does, and whether the leads over them stay."""
    untrained = [entry for entry in scores if entry.method in UNTRAINED and entry.val and entry.test]
    moves = [entry.test.mean - entry.val.mean for entry in untrained if entry.val and entry.test]
    if not moves or any(move * moved <= 0 for move in moves):
        return ""
    text = ": all methods without training move in the same direction, so the questions on test differ"
    leads = [(entry.val_ahead, entry.test_ahead) for entry in untrained]
    if not all(on_val and on_test for on_val, on_test in leads):
        return text
    stay = all(a.low <= b.high and b.low <= a.high for a, b in leads if a and b)
    return f"{text}; the leads over them {'are not affected' if stay else 'changed too'}"
