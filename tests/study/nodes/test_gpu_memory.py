"""The GPU share that trials need, with a fake meter and a fake GPU."""

from collections.abc import Generator
from contextlib import contextmanager

import optuna
import pytest
import torch

from pan_model.config import TrialConfig
from search_spaces import SPACES
from study.nodes.gpu_memory import (
    CudaMeter,
    LargestSampler,
    MemoryUse,
    largest_trials,
    measure_need,
    measure_on_cuda,
    second_context,
)
from study.trials.preparation import PreparedDataset


class CountingMeter:
    """Measures as many bytes as the trial that began last has parameters times 1000."""

    def __init__(self, peaks: list[int]) -> None:
        self._peaks = peaks
        self.trials = -1

    def start(self) -> None:
        self.trials += 1

    def read(self) -> MemoryUse:
        return MemoryUse(context=5, peak=self._peaks[self.trials], total=1000)


@pytest.mark.parametrize("dataset", SPACES)
def test_largest_trials_have_the_most_conditions_of_every_encoder(dataset: str):
    space = SPACES[dataset]
    configs = largest_trials(space, max_epochs=7, seed=3)
    largest = {config.to_flat()["encoder"] for config in configs if config.conditions.num_conditions == 512}
    assert largest == set(space.encoders)
    assert all((config.train.max_epochs, config.train.seed) == (7, 3) for config in configs)
    assert len(configs) > len(space.first_trials)


def test_a_large_trial_has_the_largest_counts_and_the_smallest_rates():
    trial = optuna.create_study(sampler=LargestSampler(0)).ask()
    assert trial.suggest_int("num_conditions", 1, 512, log=True) == 512
    assert trial.suggest_categorical("width", (100, 350, 200)) == 350
    assert trial.suggest_float("learning_rate", 1e-5, 1.0, log=True) == 1e-5
    assert trial.suggest_categorical("joint", ("absdiff", "concat")) in ("absdiff", "concat")


def test_the_highest_peak_counts(prepared: PreparedDataset, small_trial: dict[str, object]):
    configs = [TrialConfig.from_flat({**small_trial, "seed": seed}) for seed in range(3)]
    meter = CountingMeter([10, 40, 20])
    assert measure_need(prepared, configs, torch.device("cpu"), meter) == MemoryUse(context=5, peak=40, total=1000)
    assert meter.trials == 2


def test_a_share_has_a_margin_and_is_at_most_a_gpu():
    assert MemoryUse(context=50, peak=120, total=1000).share == pytest.approx(0.2)
    assert MemoryUse(context=50, peak=900, total=1000).share == 1.0


class FakeGpu:
    """A GPU of 1000 bytes, of which a context takes 50; `others` belongs to other processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, others: int) -> None:
        self.others, self.contexts, self.kernels, self.reserved, self.peak = others, 1, 0, 0, 0
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1000 - self.allocated, 1000))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: self.reserved)
        monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: self.peak)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: self.hold(0))
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", self.reset_peak)

    @property
    def allocated(self) -> int:
        return self.others + 50 * self.contexts + self.kernels + self.reserved

    def hold(self, reserved: int) -> None:
        self.reserved, self.peak = reserved, max(self.peak, reserved)

    def reset_peak(self) -> None:
        self.peak = self.reserved

    @contextmanager
    def second_context(self) -> Generator[bool]:
        self.contexts += 1
        yield True
        self.contexts -= 1

    @contextmanager
    def exclusive(self) -> Generator[bool]:
        yield False


@pytest.mark.parametrize("others", [0, 600])
def test_memory_of_other_processes_is_not_the_trials(monkeypatch: pytest.MonkeyPatch, others: int):
    gpu = FakeGpu(monkeypatch, others)
    gpu.hold(30)
    meter = CudaMeter(gpu.second_context)
    for peak in (100, 200):
        meter.start()
        gpu.hold(peak)
        gpu.kernels = 20
        assert meter.read() == MemoryUse(context=70, peak=peak, total=1000 - others)


def test_a_gpu_that_admits_one_process_has_no_others(monkeypatch: pytest.MonkeyPatch):
    gpu = FakeGpu(monkeypatch, others=0)
    meter = CudaMeter(gpu.exclusive)
    gpu.hold(100)
    assert meter.read() == MemoryUse(context=50, peak=100, total=1000)


def test_a_context_does_not_shrink_when_other_processes_end(monkeypatch: pytest.MonkeyPatch):
    gpu = FakeGpu(monkeypatch, others=600)
    meter = CudaMeter(gpu.second_context)
    gpu.others = 0
    assert meter.read().context == 50


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_second_context_that_cannot_open_is_reported():
    with second_context() as opened:
        assert not opened


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_nothing_is_measured(prepared: PreparedDataset):
    assert measure_on_cuda(prepared, []) is None
