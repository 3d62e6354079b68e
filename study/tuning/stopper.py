"""The end of a search before all its trials have run: a budget that is used up, or an unfit node."""

from typing import Any

from ray import tune

from study.nodes.requirements import REQUIREMENT_FAILURE
from study.tuning.budget import Budget


class SearchStopper(tune.Stopper):
    """Ends a search when its budget is used up, or when a node tells that it may not run trials.

    No single trial is stopped by it.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget: Budget | None = budget
        self.requirement_failure = ""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it runs with, and a budget asks a cluster."""
        return {"_budget": None, "requirement_failure": ""}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take note of what a node told; a trial ends by itself, or ASHA stops it."""
        self.requirement_failure = self.requirement_failure or result.get(REQUIREMENT_FAILURE, "")
        return False

    def stop_all(self) -> bool:
        """Whether nothing more may run."""
        return bool(self.requirement_failure) or (self._budget is not None and self._budget.used_up)
