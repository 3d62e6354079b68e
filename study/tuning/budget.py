"""Budget: how long a study may run, and how many GPU hours it may use, until it is ended cleanly."""

import math
import time
from collections.abc import Callable

GPU_COUNT_AGE_S = 5.0
"""How old a count of the cluster's GPUs may be: asking Ray takes some milliseconds."""


class GpuMeter:
    """Adds up the GPU hours of a cluster as its owner pays them: GPUs of all nodes that are alive, busy or not.

    count_gpus asks the cluster. Between two readings the count of the earlier one holds.
    """

    def __init__(self, count_gpus: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._count_gpus, self._clock = count_gpus, clock
        self._read_s, self._gpus, self._hours = clock(), count_gpus(), 0.0

    def hours(self) -> float:
        """GPU hours since the meter was made."""
        age_s = self._clock() - self._read_s
        if age_s >= GPU_COUNT_AGE_S:
            self._hours += self._gpus * age_s / 3600
            self._read_s, self._gpus, age_s = self._read_s + age_s, self._count_gpus(), 0.0
        return self._hours + self._gpus * age_s / 3600


class Budget:
    """What a run of a study may use; infinite where nothing was said."""

    def __init__(
        self,
        *,
        seconds: float | None = None,
        gpu_hours: float | None = None,
        meter: GpuMeter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._meter = clock, meter
        self._deadline_s = math.inf if seconds is None else clock() + seconds
        self._gpu_hours = math.inf if gpu_hours is None else gpu_hours

    @property
    def used_up(self) -> bool:
        """Whether no more may be done."""
        return bool(self.end)

    @property
    def end(self) -> str:
        """What there was not enough of: "the time was up"; empty while there is enough."""
        if self._clock() >= self._deadline_s:
            return "the time was up"
        return "the GPU hours were used up" if self._meter.hours() >= self._gpu_hours else ""
