"""GPU memory: measure the share of a GPU that the largest trials of a study need, by running one epoch of each."""

import random
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import optuna
import ray
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial, FrozenTrial
from ray.exceptions import RayError, RayTaskError

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.reproducibility import deterministic_arithmetic
from pan_model.training.trainer import Trainer
from search_spaces import SearchSpace
from study.nodes.file_server import file_server
from study.nodes.image_transfer import start_on_this_node
from study.trials.preparation import PreparedDataset

DRAWS = 3
"""Number of large trials for each encoder. Their choices that are not numbers are random."""

MARGIN = 1.25
"""Factor on the measured peak, since not every trial of a study is measured."""


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """Memory of a GPU in bytes.

    Attributes:
        context: The memory that a process allocates outside torch: its CUDA context and kernels.
        peak: The largest memory that torch reserved for a trial.
        total: The memory that all trials of the GPU share: its memory without that of other processes.
    """

    context: int
    peak: int
    total: int

    @property
    def share(self) -> float:
        """The share of the GPU that a trial needs, at most 1.

        >>> MemoryUse(context=100, peak=80, total=1000).share
        0.2
        """
        return min(1.0, (self.context + MARGIN * self.peak) / self.total)

    def __str__(self) -> str:
        """Describe the use in gigabytes and as a share.

        >>> print(MemoryUse(context=10**9, peak=2 * 10**9, total=24 * 10**9))
        3.0 GB of 24.0 GB, which is 0.146 of a GPU with room to spare
        """
        used, total = (f"{size / 1e9:.1f} GB" for size in (self.context + self.peak, self.total))
        return f"{used} of {total}, which is {self.share:.3f} of a GPU with room to spare"


@runtime_checkable
class Meter(Protocol):
    """Interface of a meter for the memory of a device."""

    def start(self) -> None:
        """Reset the peak."""
        ...

    def read(self) -> MemoryUse:
        """Return the use since the start."""
        ...


@contextmanager
def second_context() -> Generator[bool]:
    """Open a CUDA context on this process's GPU in another process; yield False if the GPU allows only one process."""
    code = "import torch; torch.cuda.mem_get_info(); print(flush=True); input()"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline() == "\n"
        finally:
            process.kill()


class CudaMeter:
    """Measure the memory that this process uses on its GPU, without that of other processes.

    The GPU's driver reports the memory that all processes have allocated together. A second, idle process adds the size
    of one CUDA context. Memory besides one context and that of torch belongs to other processes.
    """

    def __init__(self, open_context: Callable[[], AbstractContextManager[bool]] = second_context) -> None:
        """Measure the size of a context and the memory of other processes.

        Args:
            open_context: Opens a CUDA context in another process while a block runs; yields False if it cannot.
        """
        with open_context() as opened:
            two_contexts = self._allocated_outside_torch()
        one_context = self._allocated_outside_torch()
        self._context = max(0, two_contexts - one_context) if opened else one_context
        self._others = max(0, one_context - self._context)

    def start(self) -> None:
        """Release cached memory and reset the peak."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def read(self) -> MemoryUse:
        """Return the use since the start; the context includes the kernels that were loaded since it was opened."""
        context = max(self._context, self._allocated_outside_torch() - self._others)
        total = torch.cuda.mem_get_info()[1] - self._others
        return MemoryUse(context=context, peak=torch.cuda.max_memory_reserved(), total=total)

    @staticmethod
    def _allocated_outside_torch() -> int:
        free, total = torch.cuda.mem_get_info()
        return total - free - torch.cuda.memory_reserved()


class LargestSampler(BaseSampler):
    """Suggest the largest value of counts and sizes, the lowest value of floats, and random values of other choices."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return an empty space: each parameter is suggested independently."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Suggest a parameter."""
        match param_distribution:
            case CategoricalDistribution(choices=choices):
                numbers = [choice for choice in choices if isinstance(choice, int | float)]
                return max(numbers) if len(numbers) == len(choices) else self._random.choice(choices)
            case IntDistribution(high=high):
                return high
            case FloatDistribution(low=low):
                return low
            case _:
                raise TypeError(f"{param_name}: unsupported distribution {type(param_distribution).__name__}")


def largest_trials(space: SearchSpace, *, max_epochs: int, seed: int) -> list[TrialConfig]:
    """Return the trials that are likely to need the most memory: the first trials of a space, and large ones.

    Args:
        space: The search space.
        max_epochs: The last epoch of a trial.
        seed: The seed of every trial.
    """
    suggested = [space.suggest(FixedTrial(point)) for point in space.first_trials]
    for encoder in space.encoders:
        samplers = [LargestSampler(seed) for seed in range(DRAWS)]
        suggested += [
            space.among((encoder,)).suggest(optuna.create_study(sampler=sampler).ask()) for sampler in samplers
        ]
    return [TrialConfig.from_flat({**parameters, "max_epochs": max_epochs, "seed": seed}) for parameters in suggested]


@deterministic_arithmetic()
def measure_need(
    prepared: PreparedDataset, configs: Sequence[TrialConfig], device: torch.device, meter: Meter
) -> MemoryUse:
    """Train each trial for one epoch, evaluate it, and return the largest use.

    Args:
        prepared: The data of the trials.
        configs: The trials.
        device: The device to train on.
        meter: Measures the device's memory.

    Raises:
        torch.OutOfMemoryError: If a trial does not fit on the device.
    """
    uses: list[MemoryUse] = []
    for config in configs:
        meter.start()
        task = prepared.row.make_task(prepared.featured, seed=config.train.seed)
        trainer = Trainer(task, config, device, prepared.start)
        trainer.train_epoch()
        trainer.evaluate(Split.VAL)
        uses.append(meter.read())
        trainer.close()
        del trainer, task
    return max(uses, key=lambda use: use.context + use.peak)


def measure_on_cuda(prepared: PreparedDataset, configs: Sequence[TrialConfig]) -> MemoryUse | None:
    """Measure trials on this process's GPU.

    Args:
        prepared: The data of the trials.
        configs: The trials.

    Returns:
        The largest use, None if torch finds no GPU, or all memory of the GPU if a trial does not fit.
    """
    if not torch.cuda.is_available():
        return None
    try:
        return measure_need(prepared, configs, torch.device("cuda"), CudaMeter())
    except torch.OutOfMemoryError:
        total = torch.cuda.mem_get_info()[1]
        return MemoryUse(context=0, peak=total, total=total)


def probe_gpu(prepared: PreparedDataset, configs: Sequence[TrialConfig]) -> MemoryUse | None:
    """Measure trials on a GPU of the cluster, as soon as a node has one.

    Args:
        prepared: The data of the trials.
        configs: The trials.

    Returns:
        The largest use, or None if torch finds no GPU on the node.

    Raises:
        UserError: If the node dies, or has no room for the images of the trials.
    """
    with nullcontext() if prepared.start is None else file_server() as server:
        try:
            return ray.get(ray.remote(num_gpus=1, max_retries=2)(_measure).remote(prepared, configs, server))
        except RayTaskError as error:  # its text is a traceback; its cause was raised on the node
            if isinstance(error.cause, UserError):
                raise error.cause from error
            raise
        except RayError as error:
            raise UserError(
                f"a GPU's node ended while the need of a trial was measured on it ({type(error).__name__}); "
                "give the same command again, or --gpus-per-trial."
            ) from error


def _measure(prepared: PreparedDataset, configs: Sequence[TrialConfig], server: Any) -> MemoryUse | None:
    if prepared.start is not None:
        prepared = replace(prepared, start=start_on_this_node(prepared.start, server))
    return measure_on_cuda(prepared, configs)
