"""Context managers that make torch's results reproducible. Each restores the settings of the process on exit."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Lock

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""The environment variable that cuBLAS reads on first use. Without it, some results of cuBLAS vary."""


_LOCK = Lock()
_scopes: list[Callable[[], None]] = []
"""The function that restores the settings, once and once more for each open scope; empty without scopes."""


@contextmanager
def deterministic_arithmetic() -> Generator[None]:
    """Use deterministic algorithms wherever torch has them, and warn where it has none.

    Enter it before cuBLAS is first used in the process. It also works as a decorator.

    >>> with deterministic_arithmetic():
    ...     torch.are_deterministic_algorithms_enabled()
    True
    """
    with _LOCK:
        if not _scopes:
            _scopes.append(_enable())
        restore = _scopes[0]
        _scopes.append(restore)
    try:
        yield
    finally:
        with _LOCK:
            _scopes.pop()
            if len(_scopes) == 1:  # the settings are the process's: the last of overlapping scopes restores them
                _scopes.pop()()


def _enable() -> Callable[[], None]:
    """Enable deterministic arithmetic, and return a function that restores the settings."""
    mode = torch.get_deterministic_debug_mode()
    benchmark = torch.backends.cudnn.benchmark
    workspace = os.environ.get(WORKSPACE)

    def restore() -> None:
        torch.backends.cudnn.benchmark = benchmark
        torch.set_deterministic_debug_mode(mode)
        if workspace is None:
            os.environ.pop(WORKSPACE, None)

    os.environ.setdefault(WORKSPACE, ":4096:8")
    torch.set_deterministic_debug_mode("warn")  # torch.use_deterministic_algorithms imports its compiler: seconds
    torch.backends.cudnn.benchmark = False  # kernels that are chosen by timing vary
    return restore


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
