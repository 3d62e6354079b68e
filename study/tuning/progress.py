"""Progress of a search: trials by status and the best value so far, counted while trials run."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable

from pan_model.objective import Objective
from study.terminal import duration
from study.trials.ledger import Status, TrialRecord

WORDS = {Status.COMPLETED: "done", Status.STOPPED: "stopped", Status.FAILED: "failed", Status.RUNNING: "running"}
"""The words of the progress line, which are short."""


class SearchProgress:
    """Count the trials of one dataset by status and keep the best value so far, without reading the ledger again.

    Args:
        records: The trials of the ledger at the start.
        objective: The objective of the dataset.
        report: Called with each trial that ends later, after it was counted.
    """

    def __init__(
        self,
        records: Iterable[TrialRecord],
        objective: Objective,
        report: Callable[[TrialRecord], None] = lambda _: None,
    ) -> None:
        self.objective = objective
        self._report = report
        self.best: float | None = None
        self.counts: Counter[Status] = Counter()
        self._statuses: dict[str, Status] = {}
        for record in records:
            self._count_record(record)

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
        """Count a trial that has ended with the status and the best value of its record."""
        self._count_record(record)
        self._report(record)

    def _count_record(self, record: TrialRecord) -> None:
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
    """Return one line, the most important first: a narrow terminal truncates its end.

    Args:
        dataset: The name of the dataset.
        num_trials: The number of trials of the search.
        progress: The counts.
        ended_before: The number of trials that had ended when this run of the study began.
        elapsed_s: Seconds since then.
    """
    parts = [f"{dataset} {progress.ended}/{num_trials}"]
    if progress.best is not None:
        parts.append(f"best {progress.best:.4f}")
    if progress.ended > ended_before:
        left_s = elapsed_s / (progress.ended - ended_before) * max(0, num_trials - progress.ended)
        parts.append(f"{duration(left_s)} left")
    counts = [f"{progress.counts[status]} {word}" for status, word in WORDS.items() if progress.counts[status]]
    return " | ".join([*parts, ", ".join(counts)] if counts else parts)


def ended_line(dataset: str, num_trials: int, progress: SearchProgress, record: TrialRecord) -> str:
    """Return one line about a trial that has ended.

    Args:
        dataset: The name of the dataset.
        num_trials: The number of trials of the search.
        progress: The counts, the trial included.
        record: The trial.
    """
    line = f"{dataset} {progress.ended}/{num_trials}: trial {record.number} ({record.trial_id}) {record.status}"
    best = record.best_epoch(progress.objective)
    if best is not None:
        line += f", {progress.objective.name} {best[progress.objective.name]:.4f} in epoch {best['epoch']}"
    if record.error:
        line += f", {' '.join(record.error.split())}"
    line += f", {duration(record.wall_s)}"
    return line if progress.best is None else f"{line}; best so far {progress.best:.4f}"
