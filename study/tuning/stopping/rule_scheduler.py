"""A scheduler for Tune and the serial executor whose decisions are those of a stopping rule."""

import math
from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from study.config.study_config import StudyConfig
from study.trials.ledger import Status, TrialRecord
from study.trials.trial import spec_of
from study.tuning.dataset_search import DatasetSearch
from study.tuning.stopping.failures import FailureCount
from study.tuning.stopping.fifo import forget_ended
from study.tuning.stopping.rule import StoppingRule


class RuleScheduler(FIFOScheduler):
    """Stop the trials that a rule stops, if the search allows it, and write stops and failures to the ledger.

    Args:
        search: The search that the trials belong to.
        records: The trials of the ledger, which the rule takes in.
        rule: Decides which trials stop.
        study: Supplies `max_failures`.
        node_is_alive: Returns whether the node with an id is alive.
    """

    def __init__(
        self,
        search: DatasetSearch,
        records: list[TrialRecord],
        rule: StoppingRule,
        study: StudyConfig,
        node_is_alive: Callable[[str], bool],
    ) -> None:
        super().__init__()
        self._search, self._rule = search, rule
        self._failures = FailureCount(search, study.max_failures, node_is_alive)
        for record in records:
            rule.add(record)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether a trial continues after an epoch, and write a stop to the ledger."""
        value, spec = result.get(self._search.objective.name, math.nan), spec_of(trial.config)
        if not math.isfinite(value):
            return TrialScheduler.CONTINUE
        stops = self._rule.stops(spec.trial_id, spec.config, int(result["epoch"]), float(value))
        if not stops or not self._search.may_stop(spec.config):
            return TrialScheduler.CONTINUE
        self._search.ledger(spec.trial_id).close(Status.STOPPED)
        return TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Give a completed trial to the rule."""
        forget_ended(tune_controller)
        if not math.isfinite(result.get(self._search.objective.name, math.nan)):
            return
        ledger = self._search.ledger(spec_of(trial.config).trial_id)
        if ledger.status()[0] is Status.COMPLETED:
            self._rule.add(ledger.read(best=False))

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Count a failure of a trial."""
        self._failures.count(trial)
