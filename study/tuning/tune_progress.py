"""Progress: what Tune tells of trials goes to the progress_of of their datasets' searches."""

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from study.tuning.search_progress import SearchProgress


class Progress(TrialProgressCallback):
    """Keeps the tally of each dataset's search, and calls back whenever there is news.

    `tell` shows it, `keep` keeps the journals when a trial has ended. This takes the place of Tune's own callback,
    which prints, and holds on to every trial.
    """

    def __init__(
        self,
        progress_of: Mapping[str, SearchProgress],
        tell: Callable[[], None],
        keep: Callable[[], object] = lambda: None,
    ) -> None:
        self._tallies = progress_of
        self._tell = tell
        self._keep = keep

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks, and a terminal cannot be pickled."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """When a worker has a trial, and its folder is written."""
        self._of(trial).trial_started(trial.config["trial_id"])
        self._tell()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """After an epoch."""
        self._of(trial).epoch_reported(float(result[self._of(trial).objective.name]))
        self._tell()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """After a trial, of whose end the tally has heard from the searcher."""
        self._tell()
        self._keep()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """After a trial that failed for good."""
        self._tell()
        self._keep()

    def _of(self, trial: Any) -> SearchProgress:
        return self._tallies[trial.config["dataset"]]
