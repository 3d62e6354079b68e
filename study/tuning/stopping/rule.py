"""The interface of a stopping rule, which knows neither Ray nor files."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from pan_model.flat import Scalar
from study.trials.ledger import TrialRecord


@runtime_checkable  # for beartype, which checks types while tests run
class StoppingRule(Protocol):
    """Decides after each epoch of a trial whether it stops, in a time that does not grow with the study."""

    def add(self, record: TrialRecord) -> None:
        """Take in a trial that has completed, or any trial of the ledger when a study is resumed.

        The same trial may be given again. A running trial without a decision for its last epoch gets none here.
        """
        ...

    def stops(self, trial_id: str, config: Mapping[str, Scalar], epoch: int, value: float) -> bool:
        """Return whether a trial stops after an epoch that was not its last.

        Args:
            trial_id: The id of the trial.
            config: Its flat configuration.
            epoch: The epoch, from 1.
            value: The finite value of the objective.
        """
        ...
