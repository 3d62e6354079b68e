"""Parallel coordinates: a line for each full-length trial through its parameters and its value."""

from collections.abc import Sequence
from dataclasses import dataclass

from pan_model.flat import Scalar
from study.analysis.study_data import DatasetData
from study.trials.ledger import TrialRecord

NOT_SEARCHED = frozenset({"max_epochs", "schedule_epochs", "seed", "pairs_per_epoch", "precision"})
"""Values of a configuration that are no parameters of a search."""

FIRST_AXES = ("encoder", "supervision", "gate", "lambda", "num_conditions", "learning_rate")
"""Parameters that come first unless others are named."""

MAX_AXES = 10
"""Number of axes of a figure that can be read."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of the figure.

    Attributes:
        name: The parameter.
        choices: The choices of a categorical parameter, sorted; empty for a number.
        log: Whether a number is searched on a log scale.
    """

    name: str
    choices: tuple[str, ...]
    log: bool


@dataclass(frozen=True, kw_only=True)
class Line:
    """A full-length trial: its value, and its parameter on each axis, None where it lacks the parameter."""

    trial_id: str
    number: int
    value: float
    is_winner: bool
    parameters: tuple[Scalar | None, ...]


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """The figure; stopped and failed trials have no line.

    Attributes:
        metric: The name of the objective.
        axes: The axes; parameters with one value in all trials have none.
        lines: The full-length trials, the worst first, so that the best are drawn on top.
    """

    metric: str
    axes: tuple[Axis, ...]
    lines: tuple[Line, ...]


def find_coordinates(data: DatasetData, first: Sequence[str] = FIRST_AXES, num_axes: int = MAX_AXES) -> Coordinates:
    """Return the axes and the lines of the full-length trials.

    Args:
        data: The dataset's trials.
        first: The parameters that come first, such as the most important ones.
        num_axes: The largest number of axes.
    """
    trials = sorted(data.full_length, key=lambda trial: data.objective.signed(trial[1]))
    names = {name for record, _ in trials for name in record.config} - NOT_SEARCHED
    names = {name for name in names if len({record.config.get(name) for record, _ in trials}) > 1}
    chosen = [name for name in first if name in names]
    chosen += [name for name in (*FIRST_AXES, *sorted(names)) if name in names and name not in chosen]
    axes = tuple(_axis(data, name, [record for record, _ in trials]) for name in chosen[:num_axes])
    winner = data.winner
    lines = tuple(
        Line(
            trial_id=record.trial_id,
            number=record.number,
            value=value,
            is_winner=winner is not None and record.trial_id == winner.trial_id,
            parameters=tuple(record.config.get(axis.name) for axis in axes),
        )
        for record, value in trials
    )
    return Coordinates(metric=data.objective.name, axes=axes, lines=lines)


def _axis(data: DatasetData, name: str, trials: Sequence[TrialRecord]) -> Axis:
    values = [record.config[name] for record in trials if name in record.config]
    recorded = data.entry.get("space", {}).get("parameters", {}).get(name, {})
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    is_number = is_number and "choices" not in recorded
    return Axis(
        name=name,
        choices=() if is_number else tuple(sorted({str(value) for value in values})),
        log=is_number and bool(recorded.get("log", name in {"lambda", "num_conditions", "learning_rate"})),
    )
