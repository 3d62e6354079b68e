"""Schedulers, ASHA or none, that write stops and failures to the ledger."""

import errno
import math
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from pan_model.errors import MachineFault, fault_of_text
from study.config.study_config import StudyConfig
from study.storage.object_store import StoreError
from study.trials.host import forget_host, read_host
from study.trials.ledger import Status, TrialRecord
from study.trials.paper_setting import is_setting
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


class LedgerFIFO(FIFOScheduler):
    """Stop no trial, and write failures to the ledger."""

    def __init__(self, search: DatasetSearch, study: StudyConfig, node_is_alive: Callable[[str], bool]) -> None:
        super().__init__()
        self._failures = FailureCount(search, study.max_failures, node_is_alive)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Remove the trials that ended before from Tune's controller."""
        forget_ended(tune_controller)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Count a failure of a trial."""
        self._failures.count(trial)


class LedgerASHA(ASHAScheduler):
    """ASHA that writes its stops to the ledger, and fills its rungs from the ledger when a study is resumed.

    Args:
        search: The search that the trials belong to.
        records: The trials of the ledger.
        study: Supplies `reduction_factor` and `max_failures`.
        node_is_alive: Returns whether the node with an id is alive.
    """

    def __init__(
        self,
        search: DatasetSearch,
        records: list[TrialRecord],
        study: StudyConfig,
        node_is_alive: Callable[[str], bool],
    ) -> None:
        super().__init__(
            time_attr="epoch",
            metric=search.objective.name,
            mode=search.objective.mode,
            max_t=search.max_epochs,
            grace_period=search.grace_epochs,
            reduction_factor=study.reduction_factor,
        )
        self._search = search
        self._failures = FailureCount(search, study.max_failures, node_is_alive)
        for milestone, rung in self._rungs:
            for record in records:
                reached = [epoch for epoch in record.history if epoch["epoch"] >= milestone]
                # A trial that was interrupted right after the epoch of a rung has no decision at that rung yet.
                undecided = record.status is Status.RUNNING and len(reached) == 1
                if reached and not undecided:
                    rung[record.trial_id] = search.objective.signed(reached[0][search.objective.name])

    @property
    def _rungs(self) -> list[tuple[float, dict[str, float]]]:
        """Return the rungs: a milestone (epochs), and the signed value of each trial there, by Tune's trial id."""
        return self._brackets[0]._rungs  # pyright: ignore[reportPrivateUsage]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial; a resumed one keeps its places on the rungs."""
        super().on_trial_add(tune_controller, trial)
        trial_id = spec_of(trial.config).trial_id
        for _, rung in self._rungs:
            if trial_id in rung:
                rung[trial.trial_id] = rung.pop(trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether a trial continues after an epoch, and write a stop to the ledger; paper_setting continues."""
        decision, spec = super().on_trial_result(tune_controller, trial, result), spec_of(trial.config)
        if decision == TrialScheduler.STOP and is_setting(spec.config, self._search.paper_setting):
            return TrialScheduler.CONTINUE  # the baseline of the study: all its epochs count
        if decision == TrialScheduler.STOP:
            self._search.ledger(spec.trial_id).close(Status.STOPPED)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Put the last epoch of a trial on its rungs, unless the trial failed."""
        forget_ended(tune_controller)
        if math.isfinite(result.get(str(self._metric), math.nan)):
            super().on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Count a failure of a trial."""
        self._failures.count(trial)


class PerDatasetScheduler(FIFOScheduler):
    """Pass every decision on a trial to the scheduler of its dataset."""

    def __init__(self, schedulers: Mapping[str, LedgerASHA | LedgerFIFO]) -> None:
        super().__init__()
        self._schedulers = dict(schedulers)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Add a trial that starts."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether a trial continues after an epoch."""
        return self._of(trial).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Pass the end of a trial to the scheduler of its dataset."""
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Remove a trial before its end."""
        self._of(trial).on_trial_remove(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Count a failure of a trial."""
        self._of(trial).on_trial_error(tune_controller, trial)

    def _of(self, trial: Any) -> LedgerASHA | LedgerFIFO:
        return self._schedulers[spec_of(trial.config).dataset]


def forget_ended(tune_controller: Any) -> None:
    """Remove the trials that have ended from Tune's controller, or do nothing without one.

    Tune keeps about 60 KB of each trial and writes them to every snapshot of the experiment: 0.6 GB for 10,000 trials.
    The trial that is ending now is removed when the next one ends.
    """
    if tune_controller is None:
        return
    for ended in (tune_controller._stopped_trials, tune_controller._failed_trials):
        for trial in ended:
            tune_controller._trials.remove(trial)
            tune_controller._live_trials.discard(trial)
            tune_controller._trials_to_cache.discard(trial)
            tune_controller._trial_metadata.pop(trial.trial_id, None)
        ended.clear()
