"""The paired rule: a trial stops when question by question it is too far behind the incumbent to catch up.

The validation questions are the same for all trials. The incumbent is the best completed trial. After an epoch, a trial
is compared with the incumbent at the same epoch (at its last one, if it ended before): the mean difference of their
scores and its standard error. What the incumbent gained from there to its best epoch is known. What the trial may still
gain is predicted (rise.py). The trial stops if it stays behind the incumbent's best value even at the upper end of the
95% interval of both.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import DEVIATIONS, mean_and_error
from pan_model.shapes import Float
from study.trials.ledger import Status, TrialRecord
from study.tuning.stopping.rise import GAP_OFFSET, FinishedCurve, predict_share, predictors_of

MIN_FINISHED = 4
"""Number of completed trials before which no trial is stopped."""

MAX_FINISHED = 64
"""Number of completed trials, the latest, from which rises are learned. It bounds the time of a decision."""


class PairedRule:
    """Stop a trial whose paired interval against the incumbent excludes that it catches up.

    It stops none before MIN_FINISHED trials have completed, and none that cannot be compared question by question.

    Args:
        objective: The metric that trials are compared by.
        scores_of: Returns the score of each validation question of a trial in an epoch; None if there are none.
    """

    def __init__(self, objective: Objective, scores_of: Callable[[str, int], Sequence[float] | None]) -> None:
        self._objective, self._scores_of = objective, scores_of
        self._finished: dict[str, FinishedCurve] = {}
        self._num_finished = 0
        self._incumbent: tuple[str, FinishedCurve] | None = None
        self._scores_of_incumbent: dict[int, Float[np.ndarray, "Q"] | None] = {}

    def add(self, record: TrialRecord) -> None:
        """Take in a completed trial: the rise of its curve, and whether it is the incumbent."""
        if record.status is not Status.COMPLETED or not record.history:
            return
        values = tuple(self._objective.signed(float(epoch[self._objective.name])) for epoch in record.history)
        curve = FinishedCurve(values=values, predictors=predictors_of(record.config))
        self._num_finished += record.trial_id not in self._finished
        self._finished[record.trial_id] = curve
        if len(self._finished) > MAX_FINISHED:
            del self._finished[next(iter(self._finished))]
        if self._incumbent is None or curve.best > self._incumbent[1].best:
            self._incumbent, self._scores_of_incumbent = (record.trial_id, curve), {}

    def stops(self, trial_id: str, config: Mapping[str, Scalar], epoch: int, value: float) -> bool:
        """Return whether the interval of the difference at the end is below 0; see the module."""
        if self._incumbent is None or self._num_finished < MIN_FINISHED:
            return False
        incumbent = self._incumbent[1]
        if (gap := incumbent.best - self._objective.signed(value)) <= 0:
            return False
        share, deviation = predict_share([*self._finished.values()], incumbent.best, epoch, predictors_of(config))
        expected, uncertain = share * (gap + GAP_OFFSET), deviation * (gap + GAP_OFFSET)
        if expected + DEVIATIONS * uncertain >= gap:  # the questions can only widen the interval
            return False
        behind = self._behind(trial_id, epoch)
        if behind is None:
            return False
        difference, error = behind
        missing = difference + incumbent.best - incumbent.at(epoch)
        return expected + DEVIATIONS * math.hypot(uncertain, error) < missing

    def _behind(self, trial_id: str, epoch: int) -> tuple[float, float] | None:
        """Return how far a trial is behind the incumbent at an epoch, over the same questions, and the standard error.

        None if a trial has no scores, or the questions differ.
        """
        assert self._incumbent is not None
        incumbent_id, curve = self._incumbent
        at = min(epoch, len(curve.values))
        if at not in self._scores_of_incumbent:
            self._scores_of_incumbent[at] = _as_array(self._scores_of(incumbent_id, at))
        first, second = self._scores_of_incumbent[at], _as_array(self._scores_of(trial_id, epoch))
        if first is None or second is None or first.shape != second.shape or len(first) < 2:
            return None
        return mean_and_error(self._objective.signed(1.0) * (first - second))


def _as_array(scores: Sequence[float] | None) -> Float[np.ndarray, "Q"] | None:
    return None if scores is None else np.asarray(scores, dtype=np.float64)
