"""Failures of trials, counted for the ledger."""

import errno
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from pan_model.errors import MachineFault, fault_of_text
from study.storage.object_store import StoreError
from study.trials.host import forget_host, read_host
from study.trials.ledger import Status
from study.trials.trial import spec_of
from study.tuning.dataset_search import DatasetSearch


class FailureCount:
    """Count the failures of each trial, and close the ledger of one that fails too often.

    A trial whose node is lost has not failed: spot machines may be lost any number of times. Tune allows one failure at
    first (its max_failures is 1). Then the limit of each trial is kept one above its failures, so that this count
    decides. A trial that is given up starts once more and reads its final status from the ledger.

    Args:
        search: The search that the trials belong to.
        max_failures: Number of failures that a trial may have.
        node_is_alive: Returns whether the node with an id is alive.
    """

    def __init__(self, search: DatasetSearch, max_failures: int, node_is_alive: Callable[[str], bool]) -> None:
        self._search = search
        self._max_failures = max_failures
        self._node_is_alive = node_is_alive
        self._counted = Counter[str]()

    def count(self, trial: Any) -> None:
        """Count a failure of a trial's worker, unless the worker's node is lost.

        Raises:
            MachineFault: If a fault of the machine is the reason. The trial is still running in the ledger.
        """
        spec = spec_of(trial.config)
        ledger = self._search.ledger(spec.trial_id)
        host = read_host(ledger.folder)
        if fault := _machine_fault(trial):
            elsewhere = host is not None and host.hostname != socket.gethostname()
            node = host.hostname if host is not None and elsewhere else fault.node
            raise MachineFault(fault.errno or errno.EIO, fault.place, node)
        forget_host(ledger.folder)  # a worker that dies before it writes its host has failed
        lost = host is not None and not self._node_is_alive(host.node_id)
        self._counted[spec.trial_id] += not lost
        failures = self._counted[spec.trial_id]
        if failures <= self._max_failures and trial.should_recover():
            trial.max_failures = trial.num_failures + 1
            return
        ledger.open(number=spec.number, config=spec.config)
        ledger.close(Status.FAILED, f"given up after {failures} failures: {_last_error(trial)}")


def _last_error(trial: Any) -> str:
    """Return the last line of the last error of a trial."""
    lines = _error_text(trial).strip().splitlines()
    return lines[-1] if lines else "its worker died"


def _machine_fault(trial: Any) -> MachineFault | None:
    """Return the fault of the machine that a worker reported with its last error, such as a full disk of Ray."""
    from_store = f"{StoreError.__module__}.{StoreError.__qualname__}: "
    return None if _last_error(trial).startswith(from_store) else fault_of_text(_error_text(trial))


def _error_text(trial: Any) -> str:
    if not isinstance(trial, Trial):
        return str(trial.get_error() or "")
    try:  # its get_error reads a copy that Tune makes later, in the background
        return Path(trial.error_file or "").read_text(encoding="utf-8")
    except OSError:  # the driver's disk may be full
        return ""
