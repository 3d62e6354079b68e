"""GPU need: how much of a GPU's memory the hungriest trials of a study take, measured by running an epoch of each."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import optuna
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial, FrozenTrial

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.datasets import find_dataset
from pan_model.training.trainer import Trainer, use_deterministic_arithmetic
from search_spaces import SearchSpace
from study.trials.preparation import PreparedDataset

DRAWS = 3
"""How many large trials are drawn for each encoder: choices that are not numbers are drawn."""

MARGIN = 1.25
"""How much more than was measured a trial is given: not every trial was."""


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """Bytes of a GPU: what a process takes before any tensor, the peak of a trial's tensors, and all there is."""

    context: int
    peak: int
    total: int

    @property
    def share(self) -> float:
        """The part of the GPU to give a trial, at most all of it.

        >>> MemoryUse(context=100, peak=80, total=1000).share
        0.2
        """
        return min(1.0, (self.context + MARGIN * self.peak) / self.total)

    def __str__(self) -> str:
        """For people.

        >>> print(MemoryUse(context=10**9, peak=2 * 10**9, total=24 * 10**9))
        3.0 GB of 24.0 GB, which is 0.146 of a GPU with room to spare
        """
        used, total = (f"{size / 1e9:.1f} GB" for size in (self.context + self.peak, self.total))
        return f"{used} of {total}, which is {self.share:.3f} of a GPU with room to spare"


@runtime_checkable
class Meter(Protocol):
    """Measures a device's memory."""

    def start(self) -> None:
        """Forget the peak so far."""
        ...

    def read(self) -> MemoryUse:
        """What was used since the start."""
        ...


class CudaMeter:
    """Measures the GPU that this process has."""

    def start(self) -> None:
        """Forget the peak so far, and give back what nothing holds any more."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def read(self) -> MemoryUse:
        """What was used since the start; the context is what is taken of the GPU beside torch's own memory."""
        free, total = torch.cuda.mem_get_info()
        return MemoryUse(
            context=total - free - torch.cuda.memory_reserved(), peak=torch.cuda.max_memory_reserved(), total=total
        )


class Largest(BaseSampler):
    """Suggests the largest of all counts and sizes; other numbers do not matter here, what is no number is drawn."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: each parameter is suggested by itself."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One parameter."""
        match param_distribution:
            case CategoricalDistribution(choices=choices):
                numbers = [choice for choice in choices if isinstance(choice, int | float)]
                return max(numbers) if len(numbers) == len(choices) else self._random.choice(choices)
            case IntDistribution(high=high):
                return high
            case FloatDistribution(low=low):
                return low
            case _:
                raise TypeError(f"no search space has a {type(param_distribution).__name__}")


def hungry_trials(space: SearchSpace, *, max_epochs: int, seed: int) -> list[TrialConfig]:
    """The trials of a space that are likely to need most memory: its first ones, and large ones of each encoder."""
    suggested = [space.suggest(FixedTrial(point)) for point in space.first_trials]
    for encoder in space.encoders:
        samplers = [Largest(seed) for seed in range(DRAWS)]
        suggested += [
            space.among((encoder,)).suggest(optuna.create_study(sampler=sampler).ask()) for sampler in samplers
        ]
    return [TrialConfig.from_flat({**one, "max_epochs": max_epochs, "seed": seed}) for one in suggested]


def measure_need(
    prepared: PreparedDataset, configs: Sequence[TrialConfig], device: torch.device, meter: Meter
) -> MemoryUse:
    """Run an epoch of each trial on the device and evaluate it; gives the use of the one that peaked highest.

    Raises torch.OutOfMemoryError when one does not fit on the device at all.
    """
    use_deterministic_arithmetic()
    uses: list[MemoryUse] = []
    for config in configs:
        meter.start()
        task = find_dataset(prepared.dataset).task(prepared.featured, seed=config.train.seed)
        trainer = Trainer(task, config, device, prepared.start)
        trainer.train_epoch()
        trainer.evaluate(Split.VAL)
        uses.append(meter.read())
        trainer.close()
        del trainer, task
    return max(uses, key=lambda use: use.context + use.peak)


def measure_on_cuda(prepared: PreparedDataset, configs: Sequence[TrialConfig]) -> MemoryUse | None:
    """Measure on this process's GPU; None where torch has none, all of it where a trial does not fit."""
    if not torch.cuda.is_available():
        return None
    try:
        return measure_need(prepared, configs, torch.device("cuda"), CudaMeter())
    except torch.OutOfMemoryError:
        total = torch.cuda.mem_get_info()[1]
        return MemoryUse(context=0, peak=total, total=total)
