"""The choice of a trial's epoch: the one whose weights count, by the objective's values on val so far."""

from collections.abc import Sequence

from pan_model.objective import Objective
from pan_model.scores import EpochRecord


def choose_epoch(history: Sequence[EpochRecord], objective: Objective) -> EpochRecord | None:
    """Return the record of the epoch that counts, the earliest if several are equal; None before the first epoch.

    Epochs without a value of the objective, as in runs that are judged once, do not count.

    Args:
        history: The records of the epochs so far.
        objective: The metric to judge by.
    """
    judged = [record for record in history if objective.name in record]
    return max(judged, key=lambda record: objective.signed(record[objective.name]), default=None)
