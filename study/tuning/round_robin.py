"""Turns: the searches of several datasets in one run of Tune, where the one with fewest trials gets the next slot."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from study.tuning.schedulers import LedgerASHA, LedgerFIFO


class RoundRobinSearcher(Searcher):
    """Asks the searches in turn, so that the datasets' trials share the slots evenly and none waits for another's end.

    missing says how many trials each search lacks; count_slots is asked how many trials may run now. What is suggested
    is the search's own suggestion, with the dataset beside it.
    """

    def __init__(
        self, searches: Mapping[str, Searcher], missing: Mapping[str, int], count_slots: Callable[[], int]
    ) -> None:
        super().__init__()
        self._searches = dict(searches)
        self._missing = dict(missing)
        self._count_slots = count_slots
        self._running: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher, but the ledger is all that a study needs to go on."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """Suggest a trial of the dataset that has fewest; nothing as long as all slots are taken."""
        running = Counter(self._running.values())
        if running.total() >= self._count_slots():
            return None
        for dataset in sorted((name for name, count in self._missing.items() if count), key=lambda name: running[name]):
            suggested: Any = self._searches[dataset].suggest(trial_id)
            if suggested != self.FINISHED:
                self._missing[dataset] -= 1
                self._running[trial_id] = dataset
                return {"dataset": dataset, **suggested}
            self._missing[dataset] = 0
        return self.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the trial's own search; what Tune repeats of a trial that has ended is no news."""
        if trial_id in self._running:
            self._searches[self._running[trial_id]].on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the trial's own search, and give its slot to the next."""
        if trial_id in self._running:
            self._searches[self._running.pop(trial_id)].on_trial_complete(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Leave nothing to restore from."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Never: a study goes on from its ledger."""
        raise NotImplementedError


class PerDatasetScheduler(FIFOScheduler):
    """Leaves every decision on a trial to the scheduler of its dataset."""

    def __init__(self, schedulers: Mapping[str, LedgerASHA | LedgerFIFO]) -> None:
        super().__init__()
        self._schedulers = dict(schedulers)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial begins."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide after an epoch."""
        return self._of(trial).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial has ended."""
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A trial was taken away before its end."""
        self._of(trial).on_trial_remove(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A trial's worker failed."""
        self._of(trial).on_trial_error(tune_controller, trial)

    def _of(self, trial: Any) -> LedgerASHA | LedgerFIFO:
        return self._schedulers[trial.config["dataset"]]
