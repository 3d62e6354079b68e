"""The scheduler that stops no trial, and what all schedulers do with trials that have ended."""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from study.config.study_config import StudyConfig
from study.tuning.dataset_search import DatasetSearch
from study.tuning.stopping.failures import FailureCount


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
