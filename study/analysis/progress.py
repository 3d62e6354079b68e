"""How a search went: the best value over the epochs that were spent, and each trial's learning curve."""

from dataclasses import dataclass
from datetime import datetime

from study.analysis.stopping import rung_epochs
from study.analysis.study_data import DatasetData
from study.trials.ledger import Status, TrialRecord


@dataclass(frozen=True, kw_only=True)
class BestPoint:
    """A step of the best value so far.

    Attributes:
        epochs_spent: The epochs that all trials had run, this one included.
        value: The best value so far.
        trial_id: The trial that reached it.
        number: The position of the trial in the order of suggestions.
        epoch: The epoch of the trial.
    """

    epochs_spent: int
    value: float
    trial_id: str
    number: int
    epoch: int


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """The values of a trial in each epoch.

    Attributes:
        trial_id: The trial.
        number: Its position in the order of suggestions.
        label: Its encoder, supervision and gate.
        status: How it ended, or "running".
        epochs: The epochs.
        values: The value in each epoch.
        best: The best of the values.
        is_winner: Whether it is the best trial.
    """

    trial_id: str
    number: int
    label: str
    status: Status
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    best: float
    is_winner: bool

    @property
    def stopped_at(self) -> int | None:
        """The epoch after which a scheduler stopped the trial; None if it did not."""
        return self.epochs[-1] if self.status is Status.STOPPED and self.epochs else None


@dataclass(frozen=True, kw_only=True)
class SearchProgress:
    """The course of a search.

    Attributes:
        metric: The name of the objective.
        points: The steps of the best value over the epochs spent. Only completed trials count, so the last step is
            that of the best trial on val; epochs of all trials are spent.
        epochs_spent: The epochs of all trials.
        in_order_of_time: Whether epochs are ordered by the time at which they ended; otherwise trials are taken one
            after another in the order of suggestions, since those of version 0.1 have no times.
        curves: The learning curves of all trials with an epoch, in the order of suggestions.
        rungs: The epochs after which the scheduler stops trials; empty without one.
    """

    metric: str
    points: tuple[BestPoint, ...]
    epochs_spent: int
    in_order_of_time: bool
    curves: tuple[LearningCurve, ...]
    rungs: tuple[int, ...]


def best_so_far(data: DatasetData) -> SearchProgress:
    """Return the best value over the epochs spent, and the learning curves.

    The ledger has the start and the end of each trial and the seconds of each epoch, so an epoch ended at the start
    plus the seconds of the epochs up to it, stretched so that the last one ends with the trial.
    """
    timed = all(record.started for record in data.records)
    name = data.objective.name
    epochs = sorted(
        (
            (end_s if timed else 0.0, record.number, index, record)
            for record in data.records
            for index, end_s in enumerate(_epoch_ends_s(record))
        ),
        key=lambda epoch: epoch[:3],
    )
    points: list[BestPoint] = []
    for spent, (_, number, index, record) in enumerate(epochs, 1):
        value = float(record.history[index][name])
        is_better = data.objective.is_better(value, points[-1].value if points else None)
        if record.status is Status.COMPLETED and is_better:
            epoch = int(record.history[index]["epoch"])
            points.append(
                BestPoint(epochs_spent=spent, value=value, trial_id=record.trial_id, number=number, epoch=epoch)
            )
    return SearchProgress(
        metric=name,
        points=tuple(points),
        epochs_spent=len(epochs),
        in_order_of_time=timed,
        curves=tuple(_curve(data, record) for record in data.records if record.history),
        rungs=rung_epochs(data),
    )


def _epoch_ends_s(record: TrialRecord) -> list[float]:
    """Return the time at which each epoch ended, in Unix seconds if the trial's start is recorded, otherwise from 0."""
    spent_s, total_s = [], 0.0
    for epoch in record.history:
        total_s += sum(value for key, value in epoch.items() if key.startswith("time/"))
        spent_s.append(total_s)
    start_s = datetime.fromisoformat(record.started).timestamp() if record.started else 0.0
    if record.started and record.ended and total_s > 0:
        stretch = max(datetime.fromisoformat(record.ended).timestamp() - start_s, 0.0) / total_s
        spent_s = [value * stretch for value in spent_s]
    return [start_s + value for value in spent_s]


def _curve(data: DatasetData, record: TrialRecord) -> LearningCurve:
    parts = (record.config.get(name) for name in ("encoder", "supervision", "gate"))
    values = tuple(float(epoch[data.objective.name]) for epoch in record.history)
    return LearningCurve(
        trial_id=record.trial_id,
        number=record.number,
        label=" ".join(str(part) for part in parts if part is not None),
        status=record.status,
        epochs=tuple(int(epoch["epoch"]) for epoch in record.history),
        values=values,
        best=data.objective.signed(max(map(data.objective.signed, values))),
        is_winner=data.winner is not None and record.trial_id == data.winner.trial_id,
    )
