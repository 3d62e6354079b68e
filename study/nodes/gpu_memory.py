"""GPU need: how much of a GPU's memory the hungriest trials of a study take, measured by running an epoch of each."""

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
from pan_model.datasets import find_dataset
from pan_model.errors import UserError
from pan_model.training.trainer import Trainer, use_deterministic_arithmetic
from search_spaces import SearchSpace
from study.nodes.file_server import file_server
from study.nodes.image_transfer import start_on_this_node
from study.trials.preparation import PreparedDataset

DRAWS = 3
"""How many large trials are drawn for each encoder: choices that are not numbers are drawn."""

MARGIN = 1.25
"""How much more than was measured a trial is given: not every trial was."""


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """Memory of a GPU in bytes.

    Attributes:
        context: What a process allocates outside torch: its CUDA context and kernels.
        peak: The most that torch reserved for a trial.
        total: What all trials of the GPU may share: its memory without that of other processes.
    """

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


@contextmanager
def second_context() -> Generator[bool]:
    """Open a CUDA context on this process's GPU in another process; yield False if the GPU admits one process only."""
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
    """Measures the memory that this process takes of its GPU, without that of other processes.

    The driver reports what all processes together have allocated. What a second, idle process adds to it is the size of
    a CUDA context. What is allocated besides one context and torch's memory belongs to other processes.
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


def probe_gpu(prepared: PreparedDataset, configs: Sequence[TrialConfig]) -> MemoryUse | None:
    """Run the trials on a whole GPU, waiting for a node that has one; None where torch finds none on it.

    Raises UserError when the node dies, or cannot hold what the trials read.
    """
    with nullcontext() if prepared.start is None else file_server() as desk:
        try:
            return ray.get(ray.remote(num_gpus=1, max_retries=2)(_measure).remote(prepared, configs, desk))
        except RayTaskError as error:  # what was raised there; its text is a traceback
            if isinstance(error.cause, UserError):
                raise error.cause from error
            raise
        except RayError as error:
            raise UserError(
                f"a GPU's node ended while the need of a trial was measured on it ({type(error).__name__}); "
                "give the same command again, or --gpus-per-trial."
            ) from error


def _measure(prepared: PreparedDataset, configs: Sequence[TrialConfig], desk: Any) -> MemoryUse | None:
    if prepared.start is not None:
        prepared = replace(prepared, start=start_on_this_node(prepared.start, desk))
    return measure_on_cuda(prepared, configs)
