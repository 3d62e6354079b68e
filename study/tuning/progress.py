"""Progress of a search: trials by status and the best value so far, counted while trials run."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable

from pan_model.objective import Objective
from study.terminal import duration
from study.trials.ledger import Status, TrialRecord, name_counts


class SearchProgress:
    """Count the trials of one dataset by status and keep the best value so far, without reading the ledger again."""

    def __init__(self, records: Iterable[TrialRecord], objective: Objective) -> None:
        """Start from the trials of the ledger."""
        self.objective = objective
        self.best: float | None = None
        self.counts: Counter[Status] = Counter()
        self._statuses: dict[str, Status] = {}
        for record in records:
            self.trial_finished(record)

    @property
    def ended(self) -> int:
        """The number of trials that are completed, stopped or failed."""
        return self.counts.total() - self.counts[Status.RUNNING]

    def trial_started(self, trial_id: str) -> None:
        """Count a trial as running, unless it is counted already."""
        if trial_id not in self._statuses:
            self._count(trial_id, Status.RUNNING)

    def epoch_reported(self, value: float) -> None:
        """Take the objective's value after an epoch into account; a value that is not finite does not count."""
        if math.isfinite(value) and self.objective.is_better(value, than=self.best):
            self.best = value

    def trial_finished(self, record: TrialRecord) -> None:
        """Count a trial with the status and the best value of its record."""
        self._count(record.trial_id, record.status)
        best = record.best_epoch(self.objective)
        if best is not None:
            self.epoch_reported(float(best[self.objective.name]))

    def _count(self, trial_id: str, status: Status) -> None:
        if trial_id in self._statuses:
            self.counts[self._statuses[trial_id]] -= 1
        self._statuses[trial_id] = status
        self.counts[status] += 1


def progress_line(
    dataset: str, num_trials: int, progress: SearchProgress, clock: Callable[[], float] = time.monotonic
) -> Callable[[], str]:
    """Return a function that returns the progress line of a search.

    Args:
        dataset: The name of the dataset.
        num_trials: The number of trials of the search.
        progress: The counts.
        clock: Returns seconds. The time left is estimated from the pace since this call.
    """
    started_s, ended_before = clock(), progress.ended
    return lambda: trials_line(dataset, num_trials, progress, ended_before, clock() - started_s)


def trials_line(dataset: str, num_trials: int, progress: SearchProgress, ended_before: int, elapsed_s: float) -> str:
    """Return one line: trials by status, the best value so far and the time left.

    Args:
        dataset: The name of the dataset.
        num_trials: The number of trials of the search.
        progress: The counts.
        ended_before: The number of trials that had ended when this run of the study began.
        elapsed_s: Seconds since then.
    """
    line = f"{dataset}: {progress.ended}/{num_trials} trials, {name_counts(progress.counts)}"
    if progress.best is not None:
        line += f"; best {progress.objective.name} {progress.best:.4f}"
    if progress.ended > ended_before:
        left_s = elapsed_s / (progress.ended - ended_before) * (num_trials - progress.ended)
        line += f"; about {duration(left_s)} left"
    return line
