"""Progress of a search: trials by status and the best value so far, counted while trials run."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable

from pan_model.command_line import counted
from pan_model.objective import Objective
from study.terminal import ProgressRow, duration
from study.trials.ledger import Status, TrialRecord
from study.trials.trial import TrialSpec

WORDS = {Status.COMPLETED: "done", Status.STOPPED: "stopped", Status.FAILED: "failed", Status.RUNNING: "running"}
"""The words of the progress line, which are short."""

NUM_SHOWN = 3
"""Running trials that are described."""


def describe_trial(spec: TrialSpec) -> str:
    """Return what tells a trial apart at a glance: "#12 siamese hybrid XNOR", or "#12 seed 1" in a confirmation."""
    if spec.confirms:
        return f"#{spec.number} seed {spec.config['seed']}"
    values = (spec.config.get(key) for key in ("encoder", "supervision", "gate"))
    return " ".join([f"#{spec.number}", *(str(value) for value in values if value is not None)])


class SearchProgress:
    """Count the trials of one dataset by status and keep the best value so far, without reading the ledger again.

    Attributes:
        running: What each trial that runs in this process or on its workers is at, by its id.

    Args:
        records: The trials of the ledger at the start.
        objective: The objective of the dataset.
        report: Called with each trial that ends later, after it was counted.
        clock: Returns seconds.
    """

    def __init__(
        self,
        records: Iterable[TrialRecord],
        objective: Objective,
        report: Callable[[TrialRecord], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.objective = objective
        self._report = report
        self._clock = clock
        self._started_s: float | None = None
        self.best: float | None = None
        self.counts: Counter[Status] = Counter()
        self._epochs: dict[str, int] = {}
        self.running: dict[str, str] = {}
        self._statuses: dict[str, Status] = {}
        for record in records:
            self._count_record(record)

    @property
    def epochs(self) -> int:
        """The number of epochs of all trials; those that ran twice, on another machine, count once."""
        return sum(self._epochs.values())

    @property
    def ended(self) -> int:
        """The number of trials that are completed, stopped or failed."""
        return self.counts.total() - self.counts[Status.RUNNING]

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first trial of this run of the study began; 0 before."""
        return 0.0 if self._started_s is None else self._clock() - self._started_s

    def trial_started(self, trial_id: str, what: str = "") -> None:
        """Count a trial as running, unless it is counted already.

        Args:
            trial_id: The id of the trial.
            what: What tells it apart, see `describe_trial`.
        """
        if self._started_s is None:
            self._started_s = self._clock()
        self.running[trial_id] = what
        if trial_id not in self._statuses:
            self._count(trial_id, Status.RUNNING)

    def epoch_ended(self, spec: TrialSpec, epoch: int, value: float) -> None:
        """Take an epoch of a running trial into account.

        Args:
            spec: The trial.
            epoch: The epoch, from 1; 0 if the trial ended before its first.
            value: The objective's value.
        """
        self._epochs[spec.trial_id] = max(epoch, self._epochs.get(spec.trial_id, 0))
        self.running[spec.trial_id] = f"{describe_trial(spec)} {epoch}/{spec.config['max_epochs']}"
        self.epoch_reported(value)

    def epoch_reported(self, value: float) -> None:
        """Take the objective's value after an epoch into account; a value that is not finite does not count."""
        if math.isfinite(value) and self.objective.is_better(value, than=self.best):
            self.best = value

    def trial_finished(self, record: TrialRecord) -> None:
        """Count a trial that has ended with the status and the best value of its record."""
        self.running.pop(record.trial_id, None)
        self._count_record(record)
        self._report(record)

    def _count_record(self, record: TrialRecord) -> None:
        self._count(record.trial_id, record.status)
        self._epochs[record.trial_id] = len(record.history)
        best = record.best_epoch(self.objective)
        if best is not None:
            self.epoch_reported(float(best[self.objective.name]))

    def _count(self, trial_id: str, status: Status) -> None:
        if trial_id in self._statuses:
            self.counts[self._statuses[trial_id]] -= 1
        self._statuses[trial_id] = status
        self.counts[status] += 1


def progress_row(dataset: str, num_trials: int, progress: SearchProgress) -> Callable[[], ProgressRow]:
    """Return a function that returns the progress of a search.

    The time left is estimated from the pace since the first trial of this run began.

    Args:
        dataset: The name of the dataset.
        num_trials: The number of trials of the search.
        progress: The counts.
    """
    ended_before = progress.ended
    return lambda: trials_row(dataset, num_trials, progress, ended_before, progress.elapsed_s)


def trials_row(
    dataset: str, num_trials: int, progress: SearchProgress, ended_before: int, elapsed_s: float
) -> ProgressRow:
    """Return the progress of a search, the most important first: a narrow terminal truncates its end.

    Args:
        dataset: The name of the dataset.
        num_trials: The number of trials of the search.
        progress: The counts.
        ended_before: The number of trials that had ended when this run of the study began.
        elapsed_s: Seconds since its first trial began; 0 if that is not known, and then no time is estimated.
    """
    left = ""
    if progress.ended > ended_before and elapsed_s > 0:
        left_s = elapsed_s / (progress.ended - ended_before) * max(0, num_trials - progress.ended)
        left = f"{duration(left_s)} left"
    counts = [f"{progress.counts[status]} {word}" for status, word in WORDS.items() if progress.counts[status]]
    running = list(progress.running.values())
    now = "starting" if not running and not progress.counts else ""
    if running:
        more = f", {len(running) - NUM_SHOWN} more" if len(running) > NUM_SHOWN else ""
        now = f"now {', '.join(running[:NUM_SHOWN])}{more}"
    cells = (
        "" if progress.best is None else f"best {progress.best:.4f}",
        left,
        ", ".join(counts),
        counted(progress.epochs, "epoch") if progress.epochs else "",
        now,
    )
    return ProgressRow(dataset, progress.ended, num_trials, cells)


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
