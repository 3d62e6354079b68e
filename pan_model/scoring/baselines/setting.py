"""What all baselines share: a setting, and the form of the function that fits a baseline."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from pan_model.flat import Scalar
from pan_model.shapes import Float
from pan_model.tasks.task import SetScorer, Task

Setting = dict[str, Scalar]
"""The values of a baseline's parameters, by name; empty if it has none."""


@runtime_checkable
class Fit(Protocol):
    """Fits a baseline with several settings on the task's training items, and yields a scorer for each, in order.

    Settings share the work that does not depend on their differences. The scorer of a setting is the same whatever
    other settings are fitted with it.
    """

    def __call__(
        self, task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"], /
    ) -> Iterator[SetScorer]:
        """Fit on `inputs`, the features as extracted, or as the winner normalises them (`NEEDS_INPUTS`)."""
        ...


TRAINING_SEED = 0
"""The seed of baselines that are trained: in every study on the same data, they are the same."""
