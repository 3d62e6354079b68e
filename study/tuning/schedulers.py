"""ASHA stops the weak trials, or nothing does; the ledger is told of stops and of failures, Tune forgets who ended."""

import math
from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from study.trials.ledger import Status, TrialRecord
from study.trials.trial import TrialPlace
from study.tuning.failures import FailureCount
from study.tuning.tune_request import TuneRequest


class LedgerFIFO(FIFOScheduler):
    """Stops nothing, and writes to the ledger why a trial could not be brought to its end."""

    def __init__(self, place: TrialPlace, max_failures: int) -> None:
        super().__init__()
        self._failures = FailureCount(place, max_failures)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Let Tune forget those that ended before."""
        forget_ended(tune_controller)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Count a failure, and write down the one too many."""
        self._failures.count(trial)


class LedgerASHA(ASHAScheduler):
    """ASHA that writes its stops to the ledger, and whose rungs are filled from it when a study goes on."""

    def __init__(
        self, request: TuneRequest, records: list[TrialRecord], reduction_factor: float, max_failures: int
    ) -> None:
        super().__init__(
            time_attr="epoch",
            metric=request.objective.name,
            mode=request.objective.mode,
            max_t=request.max_epochs,
            grace_period=request.grace_epochs,
            reduction_factor=reduction_factor,
        )
        self._place = request.place
        self._failures = FailureCount(request.place, max_failures)
        for milestone, rung in self._rungs:
            for record in records:
                reached = [epoch for epoch in record.history if epoch["epoch"] >= milestone]
                undecided = record.status is Status.RUNNING and len(reached) == 1  # cut between epoch and verdict
                if reached and not undecided:
                    rung[record.trial_id] = request.objective.signed(reached[0][request.objective.name])

    @property
    def _rungs(self) -> list[tuple[float, dict[str, float]]]:
        """Milestones (epochs), and the signed value that each trial had there, by Tune's name of the trial."""
        return self._brackets[0]._rungs  # pyright: ignore[reportPrivateUsage]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let a trial that goes on keep its places on the rungs."""
        super().on_trial_add(tune_controller, trial)
        for _, rung in self._rungs:
            if trial.config["trial_id"] in rung:
                rung[trial.trial_id] = rung.pop(trial.config["trial_id"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide, and write a stop down."""
        decision = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP:
            self._place.ledger(trial.config["trial_id"]).close(Status.STOPPED)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Keep failed trials off the rungs; let Tune forget those that ended before."""
        forget_ended(tune_controller)
        if math.isfinite(result.get(str(self._metric), math.nan)):
            super().on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Count a failure, and write down the one too many."""
        self._failures.count(trial)


def forget_ended(tune_controller: Any) -> None:
    """Let Tune's controller forget every trial that has ended, of which the ledger has all that is ever asked.

    Tune keeps some 60 KB of each and writes all of them into every snapshot of the experiment; of 10,000 trials that
    would be 0.6 GB. The trial that is just ending is not among them: the next end takes it away.
    """
    for ended in (tune_controller._stopped_trials, tune_controller._failed_trials):
        for trial in ended:
            tune_controller._trials.remove(trial)
            tune_controller._live_trials.discard(trial)
            tune_controller._trials_to_cache.discard(trial)
            tune_controller._trial_metadata.pop(trial.trial_id, None)
        ended.clear()
