"""Run jobs side by side in worker processes, or one after another in this process: which job runs when.

A job is a function of the input that all jobs share and of a `Link` (`jobs.py`). `worker_pool.py` starts and ends the
processes, `worker_process.py` runs in each of them, and `shared_object.py` is the input, whose arrays they map.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection
from typing import Any

from pan_model.reproducibility import computing_threads
from study.app.processes.jobs import Announced, Ended, Job, Link
from study.app.processes.worker_pool import WorkerPool
from study.app.processes.worker_process import Announce, Channel, Fail, Say, Show, Worker
from study.terminal import Terminal


def run_jobs(
    jobs: Sequence[Job],
    shared: Any,
    workers: Sequence[Worker],
    terminal: Terminal,
    *,
    num_threads: int,
    job_ended: Callable[[], None] = lambda: None,
) -> dict[str, Ended]:
    """Run all jobs; the first that are given start first.

    Args:
        jobs: The jobs.
        shared: The input of all jobs. It can be pickled.
        workers: The worker processes; with fewer than two, all jobs run in this process, one after another.
        terminal: Shows the progress.
        num_threads: CPU threads of a job in this process.
        job_ended: Called in this process whenever a job has ended.

    Returns:
        What each job has returned, by its name.

    Raises:
        UserError: If a worker process was killed.
        Exception: The first error of a job; the other jobs are ended.
    """
    if len(workers) < 2:
        with computing_threads(num_threads):
            return _run_here(jobs, shared, terminal, job_ended)
    with WorkerPool(workers, shared) as pool, terminal.live() as show:
        return _Run(jobs, pool, terminal, show, job_ended).finish()


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


def _run_here(jobs: Sequence[Job], shared: Any, terminal: Terminal, job_ended: Callable[[], None]) -> dict[str, Ended]:
    queue, ended = list(jobs), dict[str, Ended]()
    while job := _take_next(queue, ended):
        with terminal.live() as show:
            link = _LocalLink(terminal, show, ended[job.follows].result if job.follows else None)
            ended[job.name] = Ended(job.run(shared, link), link.times_s)
        job_ended()
    return ended


def _take_next(queue: list[Job], ended: Mapping[str, Any]) -> Job | None:
    """Take the job to start next out of the queue: one whose followed job has ended, else one that follows none."""
    if not queue:
        return None
    job = min(queue, key=lambda job: 0 if job.follows in ended else 1 if not job.follows else 2)
    queue.remove(job)
    return job


class _Run:
    """The jobs of a pool, as they start and end."""

    def __init__(
        self,
        jobs: Sequence[Job],
        pool: WorkerPool,
        terminal: Terminal,
        show: Callable[[Callable[[], str]], None],
        job_ended: Callable[[], None],
    ) -> None:
        self._queue, self._num_jobs = list(jobs), len(jobs)
        self._pool, self._terminal, self._show, self._job_ended = pool, terminal, show, job_ended
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
            case Say():
                self._terminal.say(message.line)
            case Show():
                self._lines[channel] = message.line
                self._show(lambda: " | ".join([f"{len(self._ended)} of {self._num_jobs} done", *self._lines.values()]))
            case Announce():
                self._announced[job.name] = message.value
                self._send_to_followers(job, Announced(message.value, is_result=False))
            case Fail():
                raise message.error
            case _:
                del self._running[channel]
                self._lines.pop(channel, None)
                self._ended[job.name] = message
                self._send_to_followers(job, Announced(message.result, is_result=True))
                self._start_next(channel)
                self._job_ended()

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
