"""Failures of a trial are counted, losses of its node are not: a spot machine may go as often as it likes."""

import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import ray

from study.trials.host import forget_host, read_host
from study.trials.ledger import Status
from study.trials.trial import TrialPlace
from study.tuning.tune_request import request_of

REACHED_WITHIN_S = 5.0


class FailureCount:
    """Counts failures trial by trial, and writes down one that has failed once too often.

    Tune is to allow one failure at first (its max_failures 1); from then on every trial's own limit is kept one ahead
    of its failures, so that what is counted here decides. A trial that is given up has its end in the ledger, where
    its next worker finds it.
    """

    def __init__(self, place: TrialPlace, max_failures: int, is_there: Callable[[str], bool] | None = None) -> None:
        self._place = place
        self._max_failures = max_failures
        self._is_there = is_there or node_is_there
        self._counted = Counter[str]()

    def count(self, trial: Any) -> None:
        """Take note that a trial's worker has failed."""
        request = request_of(trial.config)
        ledger = self._place.ledger(request.trial_id)
        host = read_host(ledger.folder)
        forget_host(ledger.folder)  # a worker that dies before it has written where it runs has failed
        lost = host is not None and not self._is_there(host.node_id)
        self._counted[request.trial_id] += not lost
        failures = self._counted[request.trial_id]
        if failures <= self._max_failures and trial.should_recover():
            trial.max_failures = trial.num_failures + 1
            return
        ledger.open(number=request.number, config=request.config)
        lines = str(trial.get_error() or "its worker died").strip().splitlines()
        ledger.close(Status.FAILED, f"given up after {failures} failures: {lines[-1]}")


def node_is_there(node_id: str) -> bool:
    """Whether a node is alive and answers: of one that is gone Ray itself learns some seconds later."""
    node = next((node for node in ray.nodes() if node["NodeID"] == node_id), None)
    if node is None or not node["Alive"]:
        return False
    try:
        address = (node["NodeManagerAddress"], int(node["NodeManagerPort"]))
        socket.create_connection(address, timeout=REACHED_WITHIN_S).close()
    except OSError:
        return False
    return True
