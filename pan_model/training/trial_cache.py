"""The cache of a process that runs one trial after another on the same data: what several trials compute alike."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast

import numpy as np
from torch import Tensor

T = TypeVar("T")

KEPT_BYTES = 2**28
"""Memory of the arrays that a cache keeps. The entries that were used least recently are dropped first."""


class TrialCache:
    """Values by everything that they depend on, besides the items of one dataset.

    Values must not be changed. They are computed by the same operations whether they are kept or not, so that a trial's
    numbers do not depend on the trials before it.

    Args:
        kept_bytes: The memory of the arrays that are kept. A larger value is computed anew each time.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the value of a key, computed unless it is kept.

        Args:
            key: What the value is, and everything that it depends on.
            compute: Returns the value.
        """
        if key in self._values:
            self._values.move_to_end(key)
            return cast(T, self._values[key][0])
        value = compute()
        self._values[key] = value, _num_bytes(value)
        while self.num_bytes > self._kept_bytes:
            self._values.popitem(last=False)
        return value

    @property
    def num_bytes(self) -> int:
        """The memory of the arrays that are kept."""
        return sum(size for _, size in self._values.values())


def _num_bytes(value: Any) -> int:
    """Return the size of the arrays in a value: an array, or a tuple, a dictionary or a dataclass with arrays."""
    if isinstance(value, np.ndarray | Tensor):
        return value.nbytes
    parts: Iterable[Any] = ()
    if isinstance(value, tuple | list):
        parts = cast(Iterable[Any], value)
    elif isinstance(value, dict):
        parts = cast(dict[Any, Any], value).values()
    elif is_dataclass(value):
        parts = [getattr(value, entry.name) for entry in fields(value)]
    return sum(map(_num_bytes, parts))
