"""Cut serial studies after a number of epochs or seconds, and return their winners: what each had found by then.

A serial study trains one epoch at a time, so the order of its epochs is known from the ledger. Trials run one after
another. A rule may let a trial wait after its first epoch; its other epochs then end when the trial ends.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from pan_model.flat import Scalar
from pan_model.objective import Objective
from study.trials.ledger import Status, TrialRecord, best_completed
from study.trials.selection.candidates import is_one_of


class Unit(StrEnum):
    """What studies are cut by."""

    EPOCHS = "epochs"
    SECONDS = "seconds"


@dataclass(frozen=True, kw_only=True)
class Spent:
    """The work of trials: epochs, and seconds of training and evaluation on one core."""

    epochs: int
    seconds: float

    def __add__(self, more: "Spent") -> "Spent":
        return Spent(epochs=self.epochs + more.epochs, seconds=self.seconds + more.seconds)

    def of(self, unit: Unit) -> float:
        """Return the amount in a unit."""
        return self.epochs if unit is Unit.EPOCHS else self.seconds


@dataclass(frozen=True, kw_only=True)
class Found:
    """A configuration that a study prefers, and the epoch to train it to.

    Attributes:
        trial_id: The trial.
        number: Its place in the order of suggestions, from 0.
        suggested: Whether the sampler suggested it; False for a first trial of the search space.
        config: The flat configuration, with the seed of the study.
        epoch: The best epoch.
        value: The value of the objective on the study's own questions on val, in this epoch.
    """

    trial_id: str
    number: int
    suggested: bool
    config: dict[str, Scalar]
    epoch: int
    value: float


class _Epoch(NamedTuple):
    """An epoch of a trial: when it ended in Unix seconds, and the place of the trial; sorts by time."""

    ended_s: float
    place: int
    number: int


def spent_by(records: Sequence[TrialRecord]) -> Spent:
    """Return the epochs and seconds of trials."""
    return Spent(
        epochs=sum(len(record.history) for record in records), seconds=math.fsum(record.wall_s for record in records)
    )


def epochs_in_order(records: Sequence[TrialRecord]) -> list[tuple[int, int]]:
    """Return the trial (its place in `records`) and the number of each epoch, in the order in which they were trained.

    The first epoch of a trial follows its start, the others precede its end, or those of a trial that has not ended
    follow the first one.
    """
    done: list[_Epoch] = []
    for place, record in enumerate(records):
        seconds = [_seconds_of(epoch) for epoch in record.history]
        if not seconds:
            continue
        if record.started is None:
            raise SystemExit(f"trial {record.trial_id} has no time of its start; run the study again.")
        started_s = _unix(record.started)
        first_s = started_s + seconds[0]
        ended_s = first_s + math.fsum(seconds[1:]) if record.ended is None else _unix(record.ended)
        done.append(_Epoch(first_s, place, 1))
        for number in range(len(seconds), 1, -1):
            done.append(_Epoch(max(ended_s, first_s), place, number))
            ended_s -= seconds[number - 1]
    return [(epoch.place, epoch.number) for epoch in sorted(done, key=lambda e: (e.ended_s, e.place, e.number))]


def cut(records: Sequence[TrialRecord], unit: Unit, most: float) -> list[TrialRecord]:
    """Return trials as the ledger had them when a study had done a number of epochs, or seconds of work.

    An epoch counts if it had ended by then. Trials that had not ended are running, those without an epoch are left out.

    Args:
        records: The trials of a serial study.
        unit: What is counted.
        most: The number of epochs, or the seconds of training and evaluation.
    """
    kept = dict.fromkeys(range(len(records)), 0)
    spent = 0.0
    for place, number in epochs_in_order(records):
        spent += 1 if unit is Unit.EPOCHS else _seconds_of(records[place].history[number - 1])
        if spent > most * (1 + 1e-9):
            break
        kept[place] = number
    return [
        record
        if kept[place] == len(record.history)
        else replace(record, history=record.history[: kept[place]], status=Status.RUNNING, best=None, ended=None)
        for place, record in enumerate(records)
        if kept[place]
    ]


def winner_of(
    records: Sequence[TrialRecord], objective: Objective, first_trials: Sequence[Mapping[str, Scalar]]
) -> Found | None:
    """Return the best completed trial; the best of all that have an epoch if none is completed yet.

    Args:
        records: The trials.
        objective: The metric and its direction.
        first_trials: The configurations of the search space's first trials.
    """
    best = best_completed([*records], objective)
    if best is None:
        begun = [replace(record, status=Status.COMPLETED) for record in records if record.status is not Status.FAILED]
        best = best_completed(begun, objective)
    if best is None:
        return None
    record, value, epoch = best
    return found_in(record, epoch, value, first_trials)


def found_in(record: TrialRecord, epoch: int, value: float, first_trials: Sequence[Mapping[str, Scalar]]) -> Found:
    """Return what was found in a trial, with its best epoch and the value in it."""
    return Found(
        trial_id=record.trial_id,
        number=record.number,
        suggested=not is_one_of(record, first_trials),
        config=record.config,
        epoch=epoch,
        value=value,
    )


def best_first_of(
    records: Sequence[TrialRecord], objective: Objective, first_trials: Sequence[Mapping[str, Scalar]]
) -> Found | None:
    """Return the best of a study's own first trials, chosen as a winner is among all trials."""
    return winner_of([record for record in records if is_one_of(record, first_trials)], objective, first_trials)


def _seconds_of(epoch: Mapping[str, Any]) -> float:
    return math.fsum(value for key, value in epoch.items() if key.startswith("time/"))


def _unix(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
