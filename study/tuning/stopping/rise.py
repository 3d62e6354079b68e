"""How much the curve of a trial may still rise after an epoch, learned from the finished trials of the study.

Between an epoch and its end, a trial closes a share of its distance to the incumbent, the best completed trial:
share = rise / (gap + GAP_OFFSET). Over trials the shares are about equally spread whatever the distance is. Their mean
depends linearly on the learning rate and the initial weights. The regression is Bayesian (normal inverse-gamma): with
few finished trials the shares of recorded studies decide, with many those of the study.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pan_model.flat import Scalar

GAP_OFFSET = 0.02
"""Added to a distance, so that trials near the incumbent have a share, too."""

PRIOR_SHARE, PRIOR_DEVIATION = 0.25, 0.3
"""Mean and standard deviation of the share, those of early epochs in recorded studies of outfits and the demo."""

PRIOR_TRIALS = 4.0
"""The number of finished trials that the prior counts as much as."""

MIDDLE_LEARNING_RATE = 3e-4
"""About the middle of the searched learning rates on a logarithmic scale."""


@dataclass(frozen=True, kw_only=True)
class FinishedCurve:
    """The signed value of a finished trial after each epoch, higher is better, and what predicts its rise."""

    values: tuple[float, ...]
    predictors: tuple[float, ...]

    @property
    def best(self) -> float:
        """The best value."""
        return max(self.values)

    def at(self, epoch: int) -> float:
        """Return the value after an epoch, or the last one if the trial ended before."""
        return self.values[min(epoch, len(self.values)) - 1]

    def rise_after(self, epoch: int) -> float:
        """Return how much the best later value is above the one after an epoch, at least 0."""
        return max((*self.values[epoch:], self.at(epoch))) - self.at(epoch)


def predictors_of(config: Mapping[str, Scalar]) -> tuple[float, ...]:
    """Return 1, the decades of the learning rate above the middle, and whether the first weights are random.

    >>> predictors_of({"learning_rate": 3e-4, "first_weights": "distance"})
    (1.0, 0.0, 0.0)
    """
    rate = float(config.get("learning_rate", MIDDLE_LEARNING_RATE))
    decades = math.log10(rate / MIDDLE_LEARNING_RATE) if rate > 0 else 0.0
    return 1.0, decades, float(config.get("first_weights", "xavier") != "distance")


def predict_share(
    finished: Sequence[FinishedCurve], best: float, epoch: int, predictors: Sequence[float]
) -> tuple[float, float]:
    """Return the mean and the standard deviation of the share that a trial closes after an epoch.

    The deviation is widened so that the mean +- 1.96 deviations is the 95% interval of Student's t.

    Args:
        finished: The finished trials; those that ran beyond the epoch count.
        best: The signed value of the incumbent.
        epoch: The epoch.
        predictors: Those of the trial, see `predictors_of`.
    """
    later = [curve for curve in finished if len(curve.values) > epoch]
    inputs = np.array([curve.predictors for curve in later]).reshape(len(later), len(predictors))
    shares = np.array([curve.rise_after(epoch) / (max(best - curve.at(epoch), 0.0) + GAP_OFFSET) for curve in later])
    prior_mean, prior_precision = np.zeros(len(predictors)), PRIOR_TRIALS * np.eye(len(predictors))
    prior_mean[0] = PRIOR_SHARE
    precision = prior_precision + inputs.T @ inputs
    weighted = prior_precision @ prior_mean + inputs.T @ shares
    mean = np.linalg.solve(precision, weighted)
    squares = PRIOR_TRIALS * PRIOR_DEVIATION**2 + prior_mean @ prior_precision @ prior_mean
    squares += shares @ shares - mean @ weighted
    freedom = PRIOR_TRIALS + len(later)
    variance = max(float(squares), 0.0) / freedom
    asked = np.asarray(predictors)
    spread = 1.0 + float(asked @ np.linalg.solve(precision, asked))
    widened = 1.0 + (1.96**2 + 1.0) / (4.0 * freedom)  # the first term of the expansion of t's quantile
    return float(asked @ mean), widened * math.sqrt(variance * spread)
