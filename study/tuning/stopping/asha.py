"""ASHA that writes stops and failures to the ledger."""

import math
from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from study.config.study_config import StudyConfig
from study.trials.ledger import Status, TrialRecord
from study.trials.trial import spec_of
from study.tuning.dataset_search import DatasetSearch
from study.tuning.stopping.failures import FailureCount
from study.tuning.stopping.fifo import forget_ended


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
        """Return whether a trial continues after an epoch, and write a stop to the ledger."""
        decision, spec = super().on_trial_result(tune_controller, trial, result), spec_of(trial.config)
        if decision == TrialScheduler.STOP and not self._search.may_stop(spec.config):
            return TrialScheduler.CONTINUE
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
