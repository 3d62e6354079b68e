"""How the metric goes with one parameter over a search's own trials: λ by gate, gates, conditions, encoders and so on.

A search varies all parameters at once and samples good regions more often, so these are observations and no controlled
comparison: `CONFOUNDING` says it in words for the page, and `study/ablate.py` varies one parameter at a time.

Only full-length trials have a value here. Trials that a scheduler stopped are counted beside them: their last value is
of an earlier epoch.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from pan_model.flat import Scalar
from pan_model.scores import Interval
from study.analysis.study_data import DatasetData
from study.analysis.uncertainty import CHANCE, MIN_TRIALS, chance_of_groups, interval_of_median, interval_of_trials
from study.trials.ledger import Status, TrialRecord

CONFOUNDING = (
    "A search varies all parameters at once and tries good regions more often, so trials that differ here differ in "
    "other parameters too. These figures are observations; a controlled comparison varies one parameter at a time "
    "(study/ablate.py)."
)
"""What a reader must know of every effect."""

ALL_GATES = "all gates"
"""The series of λ over the trials with any gate."""

CONDITION_EDGES = (1, 4, 16, 64, 256, 513)
"""Edges of the groups of numbers of conditions; the search has 1 to 512."""


@dataclass(frozen=True, kw_only=True)
class TrialPoint:
    """A full-length trial in a figure.

    Attributes:
        trial_id: The trial.
        number: Its position in the order of suggestions.
        x: The value of a numeric parameter; None for a choice.
        value: The best value of the metric.
        is_winner: Whether it is the best trial.
    """

    trial_id: str
    number: int
    x: float | None
    value: float
    is_winner: bool


@dataclass(frozen=True, kw_only=True)
class Level:
    """The trials with one choice of a parameter, or with values of a numeric one in one range.

    Attributes:
        label: The choice or the range in words.
        low: The low end of the range; None for a choice.
        high: The high end of the range, itself in the next one; None for a choice.
        points: The full-length trials.
        num_stopped: The number of trials that a scheduler stopped; they have no value here.
        num_failed: The number of failed trials.
        median: The median over the full-length trials; None without any. Charts show it: a few recipes that learn
            nothing move a mean far.
        median_ci95: The 95% interval of the median (order statistics); None below 6 full-length trials.
        mean: The mean over the full-length trials; None without any.
        interval: The mean with its 95% interval over trials (Student's t); None below 3 full-length trials.
        best: The best value; None without any. It grows with the number of trials.
    """

    label: str
    low: float | None
    high: float | None
    points: tuple[TrialPoint, ...]
    num_stopped: int
    num_failed: int
    median: float | None
    median_ci95: tuple[float, float] | None
    mean: float | None
    interval: Interval | None
    best: float | None

    @property
    def num_full(self) -> int:
        """The number of full-length trials behind the level."""
        return len(self.points)

    @property
    def centre(self) -> float | None:
        """The geometric centre of a range; None for a choice."""
        return None if self.low is None or self.high is None else math.sqrt(self.low * self.high)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve of a figure: a name (a gate, or the parameter itself) and its levels in order."""

    name: str
    levels: tuple[Level, ...]

    @property
    def num_full(self) -> int:
        """The number of full-length trials of all levels."""
        return sum(level.num_full for level in self.levels)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The metric against one parameter.

    Attributes:
        parameter: The name, such as lambda.
        title: What the figure shows.
        log: Whether the parameter is numeric, on a log axis.
        series: The curves, the one over all trials first; empty if there is nothing to show, see `missing`.
        without: The trials that lack the parameter, such as unsupervised ones for λ; None if there are none.
        chance: The chance that levels without any difference would differ as much (permutation test on ranks of levels
            with at least 3 full-length trials); None if there are too few trials for a difference to be found.
        verdict: What can be said, in a sentence.
        missing: Why there is nothing to show; otherwise empty.
    """

    parameter: str
    title: str
    log: bool
    series: tuple[Series, ...]
    without: Level | None
    chance: float | None
    verdict: str
    missing: str

    @property
    def num_full(self) -> int:
        """The number of full-length trials in the figure, without those that lack the parameter."""
        return self.series[0].num_full if self.series else 0


@dataclass(frozen=True, kw_only=True)
class Effects:
    """The paper's figures from a study's own trials.

    Attributes:
        metric: The name of the objective.
        mode: "max" or "min".
        lambda_: Against λ: over all gates, then a curve a gate.
        gate: Against the gate f_a.
        num_conditions: Against the number of conditions.
        encoder: Against the encoder.
        batches: Whole batch, mini-batches and class-balanced batches.
        supervision: Unsupervised, hybrid and supervised.
        confounding: What a reader must know of all of them.
    """

    metric: str
    mode: str
    lambda_: Effect
    gate: Effect
    num_conditions: Effect
    encoder: Effect
    batches: Effect
    supervision: Effect
    confounding: str = CONFOUNDING

    @property
    def every(self) -> tuple[Effect, ...]:
        """The effects in the order of a page."""
        return (self.lambda_, self.gate, self.num_conditions, self.encoder, self.batches, self.supervision)


def find_effects(data: DatasetData) -> Effects:
    """Return the metric against each parameter of the paper's figures."""
    return Effects(
        metric=data.objective.name,
        mode=data.objective.mode,
        lambda_=_by_lambda(data),
        gate=_by_choice(data, "gate", "gates f_a", lambda config: _text(config, "gate")),
        num_conditions=_by_num_conditions(data),
        encoder=_by_choice(data, "encoder", "encoders", lambda config: _text(config, "encoder")),
        batches=_by_choice(data, "steps_per_epoch", "batches", describe_batches),
        supervision=_by_choice(data, "supervision", "supervision", lambda config: _text(config, "supervision")),
    )


def describe_batches(config: Mapping[str, Scalar]) -> str | None:
    """Return how a trial's training pairs were divided into steps; None if its configuration does not say.

    A step of class-balanced pairs has all pairs of a few classes' images, however many steps there are. Otherwise an
    epoch's pairs are one whole batch, as in the paper's reference code, or are split into steps.

    >>> describe_batches({"pairs": "fixed", "steps_per_epoch": 1})
    'whole batch'
    >>> describe_batches({"pairs": "fresh", "steps_per_epoch": 16})
    '16 mini-batches'
    >>> describe_batches({"pairs": "balanced", "steps_per_epoch": 4})
    'class-balanced, 4 steps'
    """
    steps, pairs = config.get("steps_per_epoch"), config.get("pairs")
    if steps is None or pairs is None:
        return None
    if pairs == "balanced":
        return f"class-balanced, {steps} step{'' if steps == 1 else 's'}"
    return "whole batch" if steps == 1 else f"{steps} mini-batches"


def _text(config: Mapping[str, Scalar], name: str) -> str | None:
    value = config.get(name)
    return None if value is None else str(value)


def _by_choice(
    data: DatasetData, parameter: str, title: str, label_of: Callable[[Mapping[str, Scalar]], str | None]
) -> Effect:
    """Return the metric against a choice; levels are in the order of their medians, the best first."""
    labels = {label for record in data.records if (label := label_of(record.config)) is not None}
    levels = [
        _level(data, label, lambda record, label=label: label_of(record.config) == label) for label in sorted(labels)
    ]
    levels.sort(key=partial(_signed_median, data), reverse=True)
    without = _level(data, f"no {parameter}", lambda record: label_of(record.config) is None)
    return _effect(data, parameter, title, levels, [Series(name=title, levels=tuple(levels))], without=without)


def _by_lambda(data: DatasetData) -> Effect:
    """Return the metric against decades of λ, over all gates and for each gate."""
    gates = sorted({str(record.config["gate"]) for record in data.records if "gate" in record.config})
    edges = _decades([float(record.config["lambda"]) for record in data.records if "lambda" in record.config])
    series = [Series(name=gate or ALL_GATES, levels=_ranges(data, "lambda", edges, gate)) for gate in (None, *gates)]
    without = _level(data, "without λ (unsupervised)", lambda record: "lambda" not in record.config)
    return _effect(data, "lambda", "λ, by gate", series[0].levels, series, log=True, without=without)


def _by_num_conditions(data: DatasetData) -> Effect:
    levels = _ranges(data, "num_conditions", CONDITION_EDGES)
    series = [Series(name="number of conditions", levels=levels)]
    return _effect(data, "num_conditions", "number of conditions", levels, series, log=True)


def _decades(values: Sequence[float]) -> list[float]:
    """Return the powers of ten that enclose some positive values."""
    positive = [value for value in values if value > 0]
    if not positive:
        return []
    first, last = (math.floor(math.log10(value) + 1e-9) for value in (min(positive), max(positive)))
    # The top of the searched range, such as 10, belongs to the decade below it.
    last = max(first, last - 1) if math.isclose(max(positive), 10.0**last) else last
    return [10.0**exponent for exponent in range(first, last + 2)]


def _ranges(data: DatasetData, parameter: str, edges: Sequence[float], gate: str | None = None) -> tuple[Level, ...]:
    """Return a level for each range between two edges; the last one includes its high end."""
    levels: list[Level] = []
    for low, high in pairwise(edges):
        is_last = high == edges[-1]

        def is_in(record: TrialRecord, low: float = low, high: float = high, is_last: bool = is_last) -> bool:
            value = record.config.get(parameter)
            if not isinstance(value, int | float) or (gate is not None and record.config.get("gate") != gate):
                return False
            return low * (1 - 1e-9) <= value and (value < high * (1 - 1e-9) or (is_last and value <= high))

        whole = all(float(edge).is_integer() and edge >= 1 for edge in edges)
        label = f"{low:g} to {high - 1:g}" if whole and parameter != "lambda" else f"{low:g} to {high:g}"
        levels.append(_level(data, label, is_in, low=low, high=high, parameter=parameter))
    return tuple(levels)


def _level(
    data: DatasetData,
    label: str,
    is_in: Callable[[TrialRecord], bool],
    *,
    low: float | None = None,
    high: float | None = None,
    parameter: str | None = None,
) -> Level:
    winner = data.winner
    points = tuple(
        TrialPoint(
            trial_id=record.trial_id,
            number=record.number,
            x=None if parameter is None else float(record.config[parameter]),
            value=value,
            is_winner=winner is not None and record.trial_id == winner.trial_id,
        )
        for record, value in data.full_length
        if is_in(record)
    )
    values = [point.value for point in points]
    return Level(
        label=label,
        low=low,
        high=high,
        points=points,
        num_stopped=sum(map(is_in, data.with_status(Status.STOPPED))),
        num_failed=sum(map(is_in, data.with_status(Status.FAILED))),
        median=statistics.median(values) if values else None,
        median_ci95=interval_of_median(values),
        mean=statistics.fmean(values) if values else None,
        interval=interval_of_trials(values),
        best=data.objective.best_of(values),
    )


def _effect(
    data: DatasetData,
    parameter: str,
    title: str,
    levels: Sequence[Level],
    series: Sequence[Series],
    *,
    log: bool = False,
    without: Level | None = None,
) -> Effect:
    chance = chance_of_groups([[point.value for point in level.points] for level in levels])
    num_full = sum(level.num_full for level in levels)
    missing = "" if num_full else _why_missing(data, title)
    return Effect(
        parameter=parameter,
        title=title,
        log=log,
        series=() if missing else tuple(series),
        without=without if without and (without.num_full or without.num_stopped or without.num_failed) else None,
        chance=chance,
        verdict="" if missing else _verdict(data, levels, chance),
        missing=missing,
    )


def _why_missing(data: DatasetData, title: str) -> str:
    if not data.full_length:
        return "No trial has run to its end yet, so there is no value to show."
    return f"No full-length trial has this parameter ({title})."


def _verdict(data: DatasetData, levels: Sequence[Level], chance: float | None) -> str:
    """Return what can be said of the levels, in a sentence."""
    filled = [level for level in levels if level.num_full]
    if len(filled) == 1:
        return f"All {filled[0].num_full} full-length trials are of one group ({filled[0].label}): nothing to compare."
    if chance is None:
        return "Too few full-length trials to say whether the groups differ."
    if chance > CHANCE:
        return f"The groups differ no more than by chance (p = {chance:.2g}): this study does not tell them apart."
    compared = [level for level in filled if level.num_full >= MIN_TRIALS]
    top = max(compared, key=partial(_signed_median, data))
    return (
        f"The groups differ by more than chance (p = {chance:.2g}); {top.label} has the best median, "
        f"{top.median:.4f} over {top.num_full} full-length trials."
    )


def _signed_median(data: DatasetData, level: Level) -> float:
    return -math.inf if level.median is None else data.objective.signed(level.median)
