"""Run trials one after another in this process, without Ray: for debugging, tests and small studies."""

import bdb
import os
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from ray.tune.schedulers import TrialScheduler

from pan_model.errors import find_machine_fault
from pan_model.training.trial_cache import TrialCache
from study.config.study_config import StudyConfig
from study.trials.host import TrialHost, write_host
from study.trials.preparation import PreparedDataset
from study.trials.trial import Step, TrialEnvironment, TrialRun, TrialSpec, spec_of
from study.tuning.budget import Budget
from study.tuning.dataset_search import DatasetSearch
from study.tuning.executor import RunningSearch, open_search
from study.tuning.progress import SearchProgress, describe_trial

THIS_PROCESS = "serial"
"""The node id in host.json, in place of one of Ray."""


class SerialTrial:
    """A trial for schedulers: the attributes and methods of `ray.tune.experiment.Trial` that they use."""

    def __init__(self, trial_id: str, config: dict[str, Any]) -> None:
        self.trial_id = trial_id
        self.config = config
        self.num_failures = 0
        self.max_failures = 1  # as in the executor on Ray; the schedulers raise it
        self._error = ""

    def fail(self, error: Exception) -> None:
        """Count a failure."""
        self.num_failures += 1
        self._error = "".join(traceback.format_exception_only(error))

    def should_recover(self) -> bool:
        """Return whether the trial may start again."""
        return self.num_failures <= self.max_failures

    def get_error(self) -> str:
        """Return the last error."""
        return self._error


def run_serially(
    searches: Sequence[DatasetSearch],
    environment: TrialEnvironment,
    datasets: Mapping[str, PreparedDataset],
    study: StudyConfig,
    *,
    budget: Budget,
    progress: Mapping[str, SearchProgress],
    update: Callable[[], None],
) -> None:
    """Run the trials that searches lack, one at a time, with the searchers and schedulers that also drive Ray.

    A trial that runs when the budget is used up, or when a KeyboardInterrupt is raised, stays running in the ledger and
    continues in the next run of the study.

    Args:
        searches: The searches that lack trials.
        environment: The paths of the results, and the threads and the device of a trial.
        datasets: The prepared datasets, by name.
        study: The study.
        budget: Checked before each trial and after each epoch.
        progress: The counts of each dataset.
        update: Called whenever the counts have changed.

    Raises:
        MachineFault: If a file cannot be read or written because of the machine. Trials are never failed by it.
    """
    with open_search(searches, study, progress, count_slots=lambda: 1, node_is_alive=lambda _: True) as search:
        executor = _SerialExecutor(search, environment, datasets, budget, progress, update)
        for number in count():
            if budget.used_up or not executor.run_next(f"serial-{number}"):
                return


class _SerialExecutor:
    def __init__(
        self,
        search: RunningSearch,
        environment: TrialEnvironment,
        datasets: Mapping[str, PreparedDataset],
        budget: Budget,
        progress: Mapping[str, SearchProgress],
        update: Callable[[], None],
    ) -> None:
        self._search, self._environment, self._datasets = search, environment, datasets
        self._budget, self._progress, self._update = budget, progress, update
        self._caches = {dataset: TrialCache() for dataset in datasets}

    def run_next(self, trial_id: str) -> bool:
        """Run the next trial until it ends or the budget is used up; return False if no trial is left."""
        suggested = self._search.searcher.suggest(trial_id)
        if suggested is None or suggested == self._search.searcher.FINISHED:
            return False
        trial, spec = SerialTrial(trial_id, suggested), spec_of(suggested)
        self._search.scheduler.on_trial_add(None, trial)
        self._progress[spec.dataset].trial_started(spec.trial_id, describe_trial(spec))
        self._update()
        run: TrialRun | None = None
        try:
            while not self._budget.used_up:
                try:
                    run = run or self._start(spec)
                    step = run.step()
                except bdb.BdbQuit as left:
                    raise KeyboardInterrupt from left  # leaving the debugger ends the study, not the trial
                except Exception as error:  # as with Ray, an error that leaves a trial is a failure of its worker
                    if run is not None:
                        with suppress(OSError):
                            run.close()
                        run = None
                    if fault := find_machine_fault(error):  # ends the search; the trial stays running in the ledger
                        raise fault from error
                    if self._recover(trial, error):
                        continue
                    break
                if self._report(trial, spec, step):
                    break
        finally:
            if run is not None:
                run.close()
        self._update()
        self._search.copy_journals()
        return True

    def _start(self, spec: TrialSpec) -> TrialRun:
        """Start a trial, or continue it from its ledger."""
        dataset = self._datasets[spec.dataset]
        cache = self._caches[spec.dataset]
        run = TrialRun(spec, self._environment, dataset.featured, dataset.start, cache)
        host = TrialHost(node_id=THIS_PROCESS, address="127.0.0.1", hostname=socket.gethostname(), pid=os.getpid())
        write_host(run.folder, host)
        return run

    def _report(self, trial: SerialTrial, spec: TrialSpec, step: Step) -> bool:
        """Report an epoch in the order in which Tune's controller does; return whether the trial has ended."""
        searcher, scheduler, progress = self._search.searcher, self._search.scheduler, self._progress[spec.dataset]
        result = {"epoch": step.epoch, progress.objective.name: step.value, "done": step.done}
        decision = TrialScheduler.STOP if step.done else scheduler.on_trial_result(None, trial, result)
        progress.epoch_ended(spec, step.epoch, step.value)
        if decision == TrialScheduler.STOP:
            scheduler.on_trial_complete(None, trial, result)
            searcher.on_trial_complete(trial.trial_id, result)
            return True
        searcher.on_trial_result(trial.trial_id, result)
        self._update()
        return False

    def _recover(self, trial: SerialTrial, error: Exception) -> bool:
        """Count a failure; return whether the trial starts again.

        A trial that is given up starts once more and reads from its ledger that it has failed.
        """
        trial.fail(error)
        recovers = trial.should_recover()
        self._search.scheduler.on_trial_error(None, trial)
        if recovers:
            self._search.scheduler.on_trial_add(None, trial)
        else:
            self._search.searcher.on_trial_complete(trial.trial_id, error=True)
        return recovers
