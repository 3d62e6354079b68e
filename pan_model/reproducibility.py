"""Scopes in which torch repeats its results exactly. Each restores the process's settings when it ends."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""The environment variable that cuBLAS reads when it is first used; without it some of its results vary."""


@contextmanager
def deterministic_arithmetic() -> Generator[None]:
    """Use deterministic algorithms wherever torch has them, and warn where it has none.

    Enter it before cuBLAS is first used in the process. Works as a decorator, too.

    >>> with deterministic_arithmetic():
    ...     torch.are_deterministic_algorithms_enabled()
    True
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    workspace = os.environ.get(WORKSPACE)
    try:
        os.environ.setdefault(WORKSPACE, ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False  # kernels that are chosen by timing vary
        yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        if workspace is None:
            os.environ.pop(WORKSPACE, None)


@contextmanager
def seeded(seed: int, device: torch.device) -> Generator[None]:
    """Draw torch's random numbers on the CPU and on `device` from a seed.

    Args:
        seed: From 0 to 2**64 - 1.
        device: The device of the computation. Other devices keep their random state.
    """
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def computing_threads(num_threads: int) -> Generator[None]:
    """Compute on `num_threads` CPU threads."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(num_threads)
        yield
    finally:
        torch.set_num_threads(before)
