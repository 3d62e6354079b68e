"""The objective of a dataset: the metric that trials are compared by, and its direction."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Objective:
    """A metric's name and whether more of it is better.

    >>> accuracy = Objective("few_shot_accuracy", "max")
    >>> accuracy.is_better(0.9, than=0.8), accuracy.best_of([0.8, 0.9, 0.7]), accuracy.best_of([])
    (True, 0.9, None)
    """

    name: str
    mode: Literal["max", "min"]

    def signed(self, value: float) -> float:
        """Return the value with the sign that makes more of it better."""
        return value if self.mode == "max" else -value

    def is_better(self, value: float, than: float | None) -> bool:
        """Return whether a value beats another one; any value beats None."""
        return than is None or self.signed(value) > self.signed(than)

    def best_of(self, values: Iterable[float]) -> float | None:
        """Return the best value, None of no values."""
        return max(values, key=self.signed, default=None)
