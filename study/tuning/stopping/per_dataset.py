"""The scheduler of a study: it passes every decision to the scheduler of the trial's dataset."""

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from study.config.choices import Scheduler
from study.config.study_config import StudyConfig
from study.trials.ledger import TrialRecord
from study.trials.trial import spec_of
from study.tuning.dataset_search import DatasetSearch
from study.tuning.stopping.asha import LedgerASHA
from study.tuning.stopping.fifo import LedgerFIFO
from study.tuning.stopping.paired import PairedRule
from study.tuning.stopping.rule_scheduler import RuleScheduler
from study.tuning.stopping.top_k import TopKRule, comparable_k

DatasetScheduler = LedgerASHA | LedgerFIFO | RuleScheduler


def make_scheduler(
    search: DatasetSearch, records: list[TrialRecord], study: StudyConfig, node_is_alive: Callable[[str], bool]
) -> DatasetScheduler:
    """Build the scheduler of a dataset that `--scheduler` names.

    Args:
        search: The search that the trials belong to.
        records: The trials of the ledger.
        study: Supplies `scheduler`, `reduction_factor` and `max_failures`.
        node_is_alive: Returns whether the node with an id is alive.
    """
    match study.scheduler:
        case Scheduler.ASHA:
            return LedgerASHA(search, records, study, node_is_alive)
        case Scheduler.NONE:
            return LedgerFIFO(search, study, node_is_alive)
        case Scheduler.TOP_K:
            k = comparable_k(search.num_trials, search.max_epochs, search.grace_epochs, study.reduction_factor)
            rule = TopKRule(search.objective, k)
        case Scheduler.PAIRED:
            rule = PairedRule(
                search.objective, lambda trial_id, epoch: search.ledger(trial_id).question_scores_at(epoch)
            )
    return RuleScheduler(search, records, rule, study, node_is_alive)


class PerDatasetScheduler(FIFOScheduler):
    """Pass every decision on a trial to the scheduler of its dataset."""

    def __init__(self, schedulers: Mapping[str, DatasetScheduler]) -> None:
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

    def _of(self, trial: Any) -> DatasetScheduler:
        return self._schedulers[spec_of(trial.config).dataset]
