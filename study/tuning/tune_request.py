"""What is asked of Tune: one dataset's search."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pan_model.flat import Scalar
from pan_model.objective import Objective
from search_spaces import SearchSpace
from study.trials.trial import TrialPlace, TrialRequest
from study.tuning.journal import JournaledSearch


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """One dataset's search: what it optimises and in which space.

    complete makes a trial's configuration of what the space suggests, identify names a complete one.
    """

    place: TrialPlace
    objective: Objective
    space: SearchSpace
    complete: Callable[[dict[str, Scalar]], dict[str, Scalar]]
    identify: Callable[[dict[str, Scalar]], str]
    num_trials: int
    max_epochs: int
    grace_epochs: int

    @property
    def journaled(self) -> JournaledSearch:
        """What the journal is told of the search."""
        return JournaledSearch(name=self.place.dataset, space=self.space, objective=self.objective)


def request_of(config: Mapping[str, Any]) -> TrialRequest:
    """What is to be tried, of what Tune was told of a trial: that, and the dataset."""
    return TrialRequest(**{key: value for key, value in config.items() if key != "dataset"})
