"""Threads that share the work of many small operations of torch on a CPU."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import torch

from pan_model.reproducibility import computing_threads

MAX_STREAMS = 8
"""The most threads that work is divided among."""


def num_streams(device: torch.device, num_parts: int) -> int:
    """Return among how many threads to divide parts of a computation; a GPU takes one after another."""
    return max(1, min(torch.get_num_threads(), num_parts, MAX_STREAMS)) if device.type == "cpu" else 1


def run_in_parallel(runs: Sequence[Callable[[], None]]) -> None:
    """Call each function in its own thread, on one core: the cores of small operations would wait for each other."""
    if len(runs) == 1:
        runs[0]()
        return
    with computing_threads(1):
        futures = [_pool(os.getpid()).submit(_on_one_core, run) for run in runs[1:]]
        try:
            runs[0]()
        finally:
            wait(futures)
        for future in futures:
            future.result()


def _on_one_core(run: Callable[[], None]) -> None:
    torch.set_num_threads(1)
    run()


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a forked one has none of those before it."""
    return ThreadPoolExecutor(MAX_STREAMS - 1, "pair-chunks")
