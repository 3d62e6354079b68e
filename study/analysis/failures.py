"""Failed trials, grouped by their reason."""

import re
from dataclasses import dataclass

from study.analysis.study_data import DatasetData
from study.trials.ledger import Status, TrialRecord


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Failed trials with one reason; numbers in it may differ.

    Attributes:
        reason: The error of the first of them.
        trial_ids: The trials, in the order of suggestions.
        epochs: The epochs that they ran before they failed.
    """

    reason: str
    trial_ids: tuple[str, ...]
    epochs: int


def group_failures(data: DatasetData) -> tuple[FailureGroup, ...]:
    """Return the failed trials by reason, the most frequent one first."""
    groups: dict[str, list[TrialRecord]] = {}
    for record in data.with_status(Status.FAILED):
        groups.setdefault(_without_numbers(record.error), []).append(record)
    found = [
        FailureGroup(
            reason=records[0].error or "no reason was recorded",
            trial_ids=tuple(record.trial_id for record in records),
            epochs=sum(len(record.history) for record in records),
        )
        for records in groups.values()
    ]
    return tuple(sorted(found, key=lambda group: -len(group.trial_ids)))


def _without_numbers(error: str) -> str:
    """Return an error with every number replaced, so that "loss is nan in epoch 2" and "in epoch 3" are the same.

    >>> _without_numbers("loss/total is nan in epoch 12") == _without_numbers("loss/total is nan in epoch 3")
    True
    """
    return re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?(e[-+]?\d+)?", "#", error)
