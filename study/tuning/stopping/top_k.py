"""The one-epoch rule: after its first epoch a trial continues if it is among the best K so far."""

import heapq
import math
from collections.abc import Mapping

from pan_model.flat import Scalar
from pan_model.objective import Objective
from study.trials.ledger import Status, TrialRecord


class TopKRule:
    """Stop a trial after its first epoch unless it is among the best K trials that have one so far.

    The first K trials therefore continue. A trial that was interrupted after its first epoch, before it was compared,
    is compared by its next one.

    Args:
        objective: The metric that trials are compared by.
        k: The number K of trials.
    """

    def __init__(self, objective: Objective, k: int) -> None:
        self._signed, self._k = objective.signed, k
        self._name = objective.name
        self._best: list[float] = []  # a heap of the K best values
        self._compared = set[str]()

    def add(self, record: TrialRecord) -> None:
        """Take in the first epoch of a trial."""
        undecided = record.status is Status.RUNNING and len(record.history) == 1
        if record.history and not undecided and record.trial_id not in self._compared:
            self._compare(record.trial_id, float(record.history[0][self._name]))

    def stops(self, trial_id: str, config: Mapping[str, Scalar], epoch: int, value: float) -> bool:
        """Return whether K trials had a better first epoch; False after a trial has been compared."""
        return trial_id not in self._compared and not self._compare(trial_id, value)

    def _compare(self, trial_id: str, value: float) -> bool:
        """Return whether a trial is among the best K. The earlier one of two equal trials is the better one."""
        self._compared.add(trial_id)
        signed = self._signed(value)
        if len(self._best) < self._k:
            heapq.heappush(self._best, signed)
            return True
        return heapq.heappushpop(self._best, signed) < signed


def comparable_k(num_trials: int, max_epochs: int, grace_epochs: int, reduction_factor: float) -> int:
    """Return the K with which the one-epoch rule spends about as many epochs as ASHA.

    ASHA spends grace_epochs on each trial, and between two rungs trains the best 1 / reduction_factor of the trials
    before. The one-epoch rule spends an epoch on each trial, and the rest on the trials that continue: in random order
    trial i is among the best K of the first i with probability min(1, K / i).

    Args:
        num_trials: The number of trials of the study.
        max_epochs: The last epoch of a trial.
        grace_epochs: The first rung of ASHA.
        reduction_factor: The factor between its rungs.

    >>> comparable_k(32, 20, 7, 3.0), comparable_k(64, 20, 7, 3.0), comparable_k(64, 20, 1, 3.0)
    (8, 14, 2)
    """
    spent, milestone, share = 0.0, 0.0, 1.0
    following = float(grace_epochs)
    while milestone < max_epochs:
        spent += share * (min(following, max_epochs) - milestone)
        milestone, following, share = following, following * reduction_factor, share / reduction_factor
    for k in range(1, num_trials):
        continuing = math.fsum(min(1.0, k / place) for place in range(1, num_trials + 1))
        if num_trials + continuing * (max_epochs - 1) >= num_trials * spent:
            return k
    return max(1, num_trials)
