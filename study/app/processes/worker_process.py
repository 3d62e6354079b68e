"""The process of a worker: it runs the jobs that it receives, and sends messages to the process of the command."""

import os
import pickle
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from threading import Thread
from typing import Any

import torch

from pan_model.errors import UserError, find_machine_fault
from pan_model.reproducibility import deterministic_arithmetic
from study.app.processes.jobs import Announced, Ended, Link
from study.app.processes.shared_object import Mapped

Channel = connection.Connection
"""A worker's connection: jobs and announced values go to it, messages and `Ended` come back."""

REFRESH_S = 0.25
"""Seconds between two progress lines that a worker sends."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """The resources of a worker process: its CPU threads, and its GPU if it has one."""

    num_threads: int
    gpu: int | None = None


@dataclass(frozen=True, kw_only=True)
class Say:
    """A line to print."""

    line: str


@dataclass(frozen=True, kw_only=True)
class Show:
    """The progress of the job."""

    line: str


@dataclass(frozen=True, kw_only=True)
class Announce:
    """An interim value for the job that follows."""

    value: Any


@dataclass(frozen=True, kw_only=True)
class Fail:
    """The error that has ended the job."""

    error: Exception


class _WorkerLink(Link):
    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._shown_s = -REFRESH_S

    def say(self, line: str) -> None:
        self.send(Say(line=line))

    def show(self, make: Callable[[], str]) -> None:
        if time.monotonic() - self._shown_s >= REFRESH_S:
            self._shown_s = time.monotonic()
            self.send(Show(line=make()))

    def announce(self, value: Any) -> None:
        self.send(Announce(value=value))

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


def run_worker(channel: Channel, shared: Mapped, worker: Worker) -> None:
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
                message = Fail(error=portable(error))
            link.send(message)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def portable(error: Exception) -> Exception:
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
