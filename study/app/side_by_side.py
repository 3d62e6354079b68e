"""Run jobs side by side in worker processes, or one after another in this process.

A job is a function of the input that all jobs share and of a `Link`, through which it shows its progress. Workers map
the arrays of the input, so that there is one copy of the features. They receive no signal but SIGKILL: this process
handles interrupts and then kills them. They also end when this process is killed.
"""

import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from multiprocessing import connection, forkserver, get_context, parent_process, reduction, resource_tracker
from multiprocessing.context import ForkServerProcess
from threading import Thread
from typing import IO, Any, NamedTuple

import torch

from pan_model.errors import UserError, find_machine_fault
from pan_model.reproducibility import computing_threads, deterministic_arithmetic
from study.terminal import Terminal

Channel = connection.Connection

CONTEXT = get_context("forkserver")
"""Forks workers from a process that has loaded the libraries once and never computes: threads do not survive a fork."""

BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that workers do not receive; a terminal and job schedulers send them to all processes of a command."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that libraries read when they are loaded."""

REFRESH_S = 0.25
"""Seconds between two progress lines that a worker sends."""

ALIGNMENT = 64
"""Bytes to whose multiples the shared arrays are aligned."""


class Announced(NamedTuple):
    """A value of a job for the job that follows it: an interim one, or its result."""

    value: Any
    is_result: bool


class Link(ABC):
    """What a running job reports to the process of the command.

    Attributes:
        times_s: Seconds that the job took, by part.
    """

    def __init__(self) -> None:
        self.times_s: dict[str, float] = {}

    @contextmanager
    def timed(self, part: str) -> Generator[None]:
        """Add the seconds that the block takes to a part."""
        started_s = time.monotonic()
        yield
        self.times_s[part] = self.times_s.get(part, 0.0) + time.monotonic() - started_s

    @abstractmethod
    def say(self, line: str) -> None:
        """Print a line."""

    @abstractmethod
    def show(self, make: Callable[[], str]) -> None:
        """Show the progress; `make` is called only if it is shown."""

    @abstractmethod
    def announce(self, value: Any) -> None:
        """Announce an interim value to the job that follows this one."""

    @abstractmethod
    def followed(self) -> Iterator[Announced]:
        """Yield the latest value that the followed job announces, wait for the next, and end with its result."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job. Its function and its result can be pickled.

    Attributes:
        name: The name in the results and in error messages.
        run: The function of the shared input and the link.
        follows: The job whose result it needs, earlier in the list. It is the first to run once that job has ended.
            Until then it runs only if no other job is left, and takes interim values.
    """

    name: str
    run: Callable[[Any, Link], Any]
    follows: str = ""


class Ended(NamedTuple):
    """What a job has returned, and the seconds that it took, by part."""

    result: Any
    times_s: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Worker:
    """The resources of a worker process: its CPU threads, and its GPU if it has one."""

    num_threads: int
    gpu: int | None = None


def load_ahead(modules: Sequence[str]) -> None:
    """Start to load the modules of jobs, in the process from which workers are forked, and return at once.

    Without this call, or in a later call with other modules, each worker loads what is missing.
    """
    CONTEXT.set_forkserver_preload(list(modules))
    _start_server()


def run_jobs(
    jobs: Sequence[Job], shared: Any, workers: Sequence[Worker], terminal: Terminal, *, num_threads: int
) -> dict[str, Ended]:
    """Run all jobs; the first that are given start first.

    Args:
        jobs: The jobs.
        shared: The input of all jobs. It can be pickled.
        workers: The worker processes; with fewer than two, all jobs run in this process, one after another.
        terminal: Shows the progress.
        num_threads: CPU threads of a job in this process.

    Returns:
        What each job has returned, by its name.

    Raises:
        UserError: If a worker process was killed.
        Exception: The first error of a job; the other jobs are ended.
    """
    if len(workers) < 2:
        with computing_threads(num_threads):
            return _run_here(jobs, shared, terminal)
    with _Pool(workers, shared) as pool, terminal.live() as show:
        return _Run(jobs, pool, terminal, show).finish()


class _LocalLink(Link):
    def __init__(self, terminal: Terminal, show: Callable[[Callable[[], str]], None], followed: Any) -> None:
        super().__init__()
        self._terminal, self._show, self._followed = terminal, show, followed

    def say(self, line: str) -> None:
        self._terminal.say(line)

    def show(self, make: Callable[[], str]) -> None:
        self._show(make)

    def announce(self, value: Any) -> None:
        """Do nothing: the following job starts later."""

    def followed(self) -> Iterator[Announced]:
        yield Announced(self._followed, is_result=True)


def _run_here(jobs: Sequence[Job], shared: Any, terminal: Terminal) -> dict[str, Ended]:
    queue, ended = list(jobs), dict[str, Ended]()
    while job := _take_next(queue, ended):
        with terminal.live() as show:
            link = _LocalLink(terminal, show, ended[job.follows].result if job.follows else None)
            ended[job.name] = Ended(job.run(shared, link), link.times_s)
    return ended


def _take_next(queue: list[Job], ended: Mapping[str, Any]) -> Job | None:
    """Take the job to start next out of the queue: one whose followed job has ended, else one that follows none."""
    if not queue:
        return None
    job = min(queue, key=lambda job: 0 if job.follows in ended else 1 if not job.follows else 2)
    queue.remove(job)
    return job


@dataclass(frozen=True, kw_only=True)
class _Say:
    line: str


@dataclass(frozen=True, kw_only=True)
class _Show:
    line: str


@dataclass(frozen=True, kw_only=True)
class _Announce:
    value: Any


@dataclass(frozen=True, kw_only=True)
class _Fail:
    error: Exception


class _Run:
    """The jobs of a pool, as they start and end."""

    def __init__(
        self, jobs: Sequence[Job], pool: "_Pool", terminal: Terminal, show: Callable[[Callable[[], str]], None]
    ) -> None:
        self._queue, self._num_jobs = list(jobs), len(jobs)
        self._pool, self._terminal, self._show = pool, terminal, show
        self._running: dict[Channel, Job] = {}
        self._lines: dict[Channel, str] = {}
        self._announced: dict[str, Any] = {}
        self._ended: dict[str, Ended] = {}

    def finish(self) -> dict[str, Ended]:
        """Run all jobs to their end."""
        for channel in self._pool.channels:
            self._start_next(channel)
        while self._running:
            for channel in connection.wait(list(self._running)):
                assert isinstance(channel, Channel)
                self._handle(channel, self._receive(channel))
        return self._ended

    def _start_next(self, channel: Channel) -> None:
        job = _take_next(self._queue, self._ended)
        if job is None:
            return
        self._running[channel] = job
        self._send(channel, job)
        if job.follows in self._ended:
            self._send(channel, Announced(self._ended[job.follows].result, is_result=True))
        elif job.follows in self._announced:
            self._send(channel, Announced(self._announced[job.follows], is_result=False))

    def _handle(self, channel: Channel, message: Any) -> None:
        job = self._running[channel]
        match message:
            case _Say():
                self._terminal.say(message.line)
            case _Show():
                self._lines[channel] = message.line
                self._show(lambda: " | ".join([f"{len(self._ended)} of {self._num_jobs} done", *self._lines.values()]))
            case _Announce():
                self._announced[job.name] = message.value
                self._send_to_followers(job, Announced(message.value, is_result=False))
            case _Fail():
                raise message.error
            case _:
                del self._running[channel]
                self._lines.pop(channel, None)
                self._ended[job.name] = message
                self._send_to_followers(job, Announced(message.result, is_result=True))
                self._start_next(channel)

    def _send_to_followers(self, job: Job, announced: Announced) -> None:
        for channel, other in self._running.items():
            if other.follows == job.name:
                self._send(channel, announced)

    def _send(self, channel: Channel, message: Any) -> None:
        try:
            channel.send_bytes(pickle.dumps(message))
        except OSError as error:
            raise self._pool.describe_end(channel, self._running[channel]) from error

    def _receive(self, channel: Channel) -> Any:
        try:
            content = channel.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._pool.describe_end(channel, self._running[channel]) from error
        return pickle.loads(content)


class _Pool:
    """Worker processes that wait for jobs. They are killed when the block ends: they hold nothing to be saved."""

    def __init__(self, workers: Sequence[Worker], shared: Any) -> None:
        self._workers, self._shared = workers, shared
        self._processes: dict[Channel, ForkServerProcess] = {}

    @property
    def channels(self) -> list[Channel]:
        """The connections to the workers."""
        return list(self._processes)

    def __enter__(self) -> "_Pool":
        try:
            with _SharedObject(self._shared) as shared:
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

    def _start(self, worker: Worker, shared: "_SharedObject") -> None:
        own, other = CONTEXT.Pipe()
        try:
            process = CONTEXT.Process(target=_work, args=(other, shared, worker), daemon=True)
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


class _SharedObject:
    """An object that is pickled to workers, and its arrays, in an unnamed file that the workers map.

    The file disappears with the last process that has it open, however the processes end.
    """

    def __init__(self, content: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        self._pickled = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
        self._file, self._slices = _unnamed_file(), list[tuple[int, int]]()
        for buffer in buffers:
            with buffer.raw() as raw:
                start = -(-self._file.tell() // ALIGNMENT) * ALIGNMENT
                self._file.seek(start)
                self._file.write(raw)
                self._slices.append((start, start + raw.nbytes))
        self._file.flush()

    def __enter__(self) -> "_SharedObject":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __reduce__(self) -> Any:
        return _Mapped, (reduction.DupFd(self._file.fileno()), self._pickled, self._slices)


@dataclass(frozen=True)
class _Mapped:
    """A `_SharedObject` as a worker has it; its arrays are read-only."""

    descriptor: Any
    pickled: bytes
    slices: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def load(self) -> Any:
        """Build the object over the mapped file."""
        with os.fdopen(self.descriptor.detach(), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            mapped = memoryview(mmap(file.fileno(), size, access=ACCESS_READ) if size else b"")
        return pickle.loads(self.pickled, buffers=[mapped[slice(*ends)] for ends in self.slices])


def _unnamed_file() -> IO[bytes]:
    """Open a file without a name: in memory where the system has such files, else in the temporary folder."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("pan-study"), "w+b")
    return tempfile.TemporaryFile()


class _WorkerLink(Link):
    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._shown_s = -REFRESH_S

    def say(self, line: str) -> None:
        self.send(_Say(line=line))

    def show(self, make: Callable[[], str]) -> None:
        if time.monotonic() - self._shown_s >= REFRESH_S:
            self._shown_s = time.monotonic()
            self.send(_Show(line=make()))

    def announce(self, value: Any) -> None:
        self.send(_Announce(value=value))

    def followed(self) -> Iterator[Announced]:
        is_result = False
        while not is_result:
            announced = pickle.loads(self._channel.recv_bytes())
            while self._channel.poll():  # the latest counts
                announced = pickle.loads(self._channel.recv_bytes())
            yield announced
            is_result = announced.is_result

    def send(self, message: Any) -> None:
        """Send a message to the process of the command."""
        self._channel.send_bytes(pickle.dumps(message))


def _work(channel: Channel, shared: _Mapped, worker: Worker) -> None:
    """Run the jobs that arrive, until this process is killed."""
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(worker.num_threads)
    if worker.gpu is not None:
        torch.cuda.set_device(worker.gpu)
    content = shared.load()
    with deterministic_arithmetic(), suppress(EOFError, BrokenPipeError):
        while True:
            job, link = pickle.loads(channel.recv_bytes()), _WorkerLink(channel)
            try:
                message = Ended(job.run(content, link), link.times_s)
            except Exception as error:
                message = _Fail(error=_portable(error))
            link.send(message)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """Return an error that can be pickled: the fault of the machine behind it, or itself with its traceback as a note.

    Pickling loses the exceptions that an error was raised from.
    """
    if isinstance(error, UserError):
        return UserError(str(error))
    if fault := find_machine_fault(error):
        return fault
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
