"""What ends a study: its time, its GPU hours, or somebody."""

import pytest

from study.tuning.budget import GPU_COUNT_AGE_S, Budget, GpuMeter


class Clock:
    """Seconds that pass when the test moves them."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def meter(clock: Clock, gpus: list[float]) -> GpuMeter:
    return GpuMeter(lambda: gpus[0], clock)


def test_gpu_hours_follow_a_cluster_that_grows_and_shrinks(clock: Clock):
    gpus = [0.0]
    read = meter(clock, gpus)
    for count, seconds in ((4.0, 1800.0), (8.0, 900.0), (0.0, 7200.0)):
        gpus[0] = count
        clock.now_s += GPU_COUNT_AGE_S  # until then the old count holds
        read.hours()
        clock.now_s += seconds - GPU_COUNT_AGE_S
    late_hours = (4 - 8) * GPU_COUNT_AGE_S / 3600 + 8 * GPU_COUNT_AGE_S / 3600 - 4 * GPU_COUNT_AGE_S / 3600
    assert read.hours() == pytest.approx(4 * 0.5 + 8 * 0.25 + late_hours)


def test_a_cluster_is_not_asked_at_every_reading(clock: Clock):
    counts: list[None] = []
    read = GpuMeter(lambda: float(counts.append(None) is None), clock)
    for _ in range(100):
        clock.now_s += GPU_COUNT_AGE_S / 50
        read.hours()
    assert len(counts) <= 3
    assert read.hours() == pytest.approx(2 * GPU_COUNT_AGE_S / 3600)


def test_without_a_limit_nothing_ends(clock: Clock):
    budget = Budget(meter=meter(clock, [1000.0]), clock=clock)
    clock.now_s += 1e9
    assert not budget.used_up
    assert budget.end == ""


@pytest.mark.parametrize(
    ("limit", "end"), [({"seconds": 3600.0}, "the time was up"), ({"gpu_hours": 4.0}, "the GPU hours were used up")]
)
def test_a_limit_ends_a_study_and_says_so(clock: Clock, limit: dict[str, float], end: str):
    budget = Budget(meter=meter(clock, [4.0]), clock=clock, **limit)
    clock.now_s += 3599
    assert (budget.used_up, budget.end) == (False, "")
    clock.now_s += 1.5
    assert (budget.used_up, budget.end) == (True, end)
