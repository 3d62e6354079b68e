"""Budget: limits of time and GPU hours after which a study ends."""

import math
import time
from collections.abc import Callable

GPU_COUNT_AGE_S = 5.0
"""Time that a count of the cluster's GPUs is valid: counting takes milliseconds."""


class GpuMeter:
    """Add up billed GPU hours: those of all GPUs of the cluster, idle ones included.

    Args:
        count_gpus: Returns the number of GPUs of all nodes that are alive. A count is valid until the next.
        clock: Returns seconds.
    """

    def __init__(self, count_gpus: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._count_gpus, self._clock = count_gpus, clock
        self._read_s, self._gpus, self._hours = clock(), count_gpus(), 0.0

    def hours(self) -> float:
        """Return the GPU hours since the meter was created."""
        age_s = self._clock() - self._read_s
        if age_s >= GPU_COUNT_AGE_S:
            self._hours += self._gpus * age_s / 3600
            self._read_s, self._gpus, age_s = self._read_s + age_s, self._count_gpus(), 0.0
        return self._hours + self._gpus * age_s / 3600


class Budget:
    """The limits of one run of a study.

    Args:
        seconds: The time after which the run ends; None for no limit.
        gpu_hours: The GPU hours after which the run ends; None for no limit.
        meter: Measures GPU hours.
        clock: Returns seconds.
    """

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
        """Whether the time or the GPU hours are used up."""
        return bool(self.end)

    @property
    def end(self) -> str:
        """The reason why the run ends, such as "the time was up"; empty while the budget lasts."""
        if self._clock() >= self._deadline_s:
            return "the time was up"
        return "the GPU hours were used up" if self._meter.hours() >= self._gpu_hours else ""
