"""The objective of a dataset: the metric that ranks trials, and its direction."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Objective:
    """The name of a metric, and whether higher ("max") or lower ("min") values are better.

    >>> accuracy = Objective("few_shot_accuracy", "max")
    >>> accuracy.is_better(0.9, than=0.8), accuracy.best_of([0.8, 0.9, 0.7]), accuracy.best_of([])
    (True, 0.9, None)
    """

    name: str
    mode: Literal["max", "min"]

    def signed(self, value: float) -> float:
        """Return the value if higher is better, otherwise its negative."""
        return value if self.mode == "max" else -value

    def is_better(self, value: float, than: float | None) -> bool:
        """Return whether a value is better than another. Any value is better than None."""
        return than is None or self.signed(value) > self.signed(than)

    def best_of(self, values: Iterable[float]) -> float | None:
        """Return the best value, or None if there are no values."""
        return max(values, key=self.signed, default=None)
