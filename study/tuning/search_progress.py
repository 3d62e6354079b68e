"""How far a search is, counted as it runs: a line on the screen then takes no reading of the ledger."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from study.trials.ledger import Status, TrialRecord


class SearchProgress:
    """Trials by status and the best value so far, as the ledger has them; begins with what it holds already."""

    def __init__(self, records: Iterable[TrialRecord], metric: str, mode: Literal["max", "min"]) -> None:
        self.metric = metric
        self.best: float | None = None
        self._mode: Literal["max", "min"] = mode
        self._statuses: dict[str, Status] = {}
        self.counts: Counter[Status] = Counter()
        for record in records:
            self.hear(record)

    @property
    def ended(self) -> int:
        """How many trials are over: completed, stopped or failed."""
        return self.counts.total() - self.counts[Status.RUNNING]

    def begin(self, trial_id: str) -> None:
        """Count a trial whose folder is there."""
        if trial_id not in self._statuses:
            self._count(trial_id, Status.RUNNING)

    def report(self, value: float) -> None:
        """Hear an epoch's value; that of a trial that failed is no number."""
        better = max if self._mode == "max" else min
        if math.isfinite(value):
            self.best = value if self.best is None else better(self.best, value)

    def hear(self, record: TrialRecord) -> None:
        """Count a trial as the ledger has it."""
        self._count(record.trial_id, record.status)
        best = record.best_epoch(self.metric, self._mode)
        if best is not None:
            self.report(float(best[self.metric]))

    def _count(self, trial_id: str, status: Status) -> None:
        if trial_id in self._statuses:
            self.counts[self._statuses[trial_id]] -= 1
        self._statuses[trial_id] = status
        self.counts[status] += 1
