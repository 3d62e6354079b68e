"""The worker processes of a command: how they are forked, and how they end.

Workers receive no signal but SIGKILL: the process of the command handles interrupts and then kills them. They also end
when that process is killed.
"""

import os
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.context import ForkServerProcess
from typing import Any

from pan_model.errors import UserError
from study.app.processes.jobs import Job
from study.app.processes.shared_object import SharedObject
from study.app.processes.worker_process import Channel, Worker, run_worker

CONTEXT = get_context("forkserver")
"""Forks workers from a process that has loaded the libraries once and never computes: threads do not survive a fork."""

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that workers do not receive; a terminal and job schedulers send them to all processes of a command."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that libraries read when they are loaded."""


def load_ahead(modules: Sequence[str]) -> None:
    """Start to load the modules of jobs, in the process from which workers are forked, and return at once.

    Without this call, or in a later call with other modules, each worker loads what is missing.
    """
    CONTEXT.set_forkserver_preload(list(modules))
    _start_server()


class WorkerPool:
    """Worker processes that wait for jobs. They are killed when the block ends: they hold nothing to be saved."""

    def __init__(self, workers: Sequence[Worker], shared: Any) -> None:
        self._workers, self._shared = workers, shared
        self._processes: dict[Channel, ForkServerProcess] = {}

    @property
    def channels(self) -> list[Channel]:
        """The connections to the workers."""
        return list(self._processes)

    def __enter__(self) -> "WorkerPool":
        try:
            with SharedObject(self._shared) as shared:
                for worker in self._workers:
                    self._start(worker, shared)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def describe_end(self, channel: Channel, job: Job) -> UserError:
        """Return the error about a worker that has ended during a job."""
        process = self._processes[channel]
        process.join()
        code = process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return UserError(
            f"{job.name}: its process ended by {how}, as when memory is full; train fewer at the same time with "
            f"--jobs, such as --jobs {max(1, len(self._processes) // 2)}."
        )

    def _start(self, worker: Worker, shared: "SharedObject") -> None:
        own, other = CONTEXT.Pipe()
        try:
            process = CONTEXT.Process(target=run_worker, args=(other, shared, worker), daemon=True)
            self._processes[own] = process
            _start_server()
            process.start()
        finally:
            other.close()

    def _end(self) -> None:
        started = [process for process in self._processes.values() if process.pid is not None]
        with _blocked_signals():  # all of them or none: Python waits for its processes when it ends
            for process in started:
                process.kill()
        for process in started:
            process.join()
        for channel in self._processes:
            channel.close()


def _start_server() -> None:
    """Start the process from which workers are forked, unless it runs; they inherit its signals and environment."""
    with _blocked_signals(), _one_thread():
        forkserver.ensure_running()


@contextmanager
def _blocked_signals() -> Generator[None]:
    """Block signals for this thread and for the processes that it starts; those sent meanwhile arrive afterwards."""
    resource_tracker.ensure_running()  # starting it would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread() -> Generator[None]:
    """Limit the numerical libraries of processes that the block starts to one thread; torch's is set in the worker."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
