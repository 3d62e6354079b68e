"""driver.json: the process that runs a study, its last sign of life, and how it ended.

The driver is the process of study/run.py. It writes the file before the first trial, at regular intervals while it
lives, and at its end. A driver that is killed leaves the file as it was, with a heartbeat that grows old.
"""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Literal

from pydantic import Field

from pan_model.errors import UserError
from study.storage.files import read_if_exists, write_text
from study.storage.json_models import JsonModel, parse_model
from study.storage.location import in_store
from study.storage.paths import StudyPaths
from study.storage.times import Time, to_iso, to_unix

HEARTBEAT_S = 10.0
"""Seconds between two heartbeats on a disk."""

STORE_HEARTBEAT_S = 60.0
"""Seconds between two heartbeats in an object store, where each is a request."""

SILENT_AFTER_S = 300.0
"""Age of a heartbeat after which a driver on another machine counts as dead.

It is several intervals, because the clocks of two machines differ and a store may be slow.
"""


class DriverState(StrEnum):
    """The state of a driver, as it wrote it itself.

    Attributes:
        RUNNING: The driver runs, or was killed and could not write anything else.
        DONE: Every trial has ended.
        INTERRUPTED: A signal, a limit of time or of GPU-hours, or a closed output ended it; the study can be resumed.
        FAILED: An error ended it, or no trial completed.
    """

    RUNNING = "running"
    DONE = "done"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Driver(JsonModel):
    """The content of driver.json. Times are in ISO 8601, UTC.

    Attributes:
        state: The state.
        started: The time at which the driver began to run trials.
        heartbeat: The last time at which the driver wrote the file.
        ended: The time of its end; None while it runs.
        reason: Why it ended, one line.
        resume: The command that resumes the study; empty if it is not known.
        folder: The folder in which the driver was started, for relative paths in `resume`.
        host: The host name of its machine.
        pid: The id of its process.
        process: Identifies the process on its machine; see `find_process`.
    """

    schema_: Literal["pan-study/driver/1"] = Field(default="pan-study/driver/1", alias="schema")
    state: DriverState
    started: Time
    heartbeat: Time
    ended: Time | None = None
    reason: str = ""
    resume: str = ""
    folder: str
    host: str
    pid: int
    process: str

    @property
    def started_s(self) -> float:
        """The start in Unix seconds."""
        return to_unix(self.started)

    @property
    def heartbeat_s(self) -> float:
        """The last heartbeat in Unix seconds."""
        return to_unix(self.heartbeat)

    @property
    def ended_s(self) -> float:
        """The end in Unix seconds; the last heartbeat if no end was written."""
        return to_unix(self.ended or self.heartbeat)


def read_driver(results: StudyPaths) -> Driver | None:
    """Return the content of driver.json; None if it does not exist, as in studies of version 0.1.

    Raises:
        UserError: If the file is damaged.
    """
    content = read_if_exists(results.driver, "remove it")
    return None if content is None else parse_model(results.driver, content, Driver, "remove it")


def is_alive(driver: Driver, now_s: float) -> bool:
    """Return whether a driver runs: its process exists on this machine, or its heartbeat on another one is recent."""
    if driver.state is not DriverState.RUNNING:
        return False
    here = process_exists(driver)
    return here if here is not None else now_s - driver.heartbeat_s <= SILENT_AFTER_S


def check_no_other_driver(results: StudyPaths) -> None:
    """Raise UserError if another process on this machine runs the study, or if driver.json is damaged.

    A driver on another machine is not refused: one that was killed there looks alive for minutes.
    """
    driver = read_driver(results)
    if driver is None or driver.state is not DriverState.RUNNING or not process_exists(driver):
        return
    if driver.pid != os.getpid():
        raise UserError(
            f"{results.root}: process {driver.pid} has been running this study since {driver.started}; wait until it "
            f"ends (study/status.py shows its progress), or stop it with Ctrl-C or kill {driver.pid}: finished epochs "
            "are kept."
        )


def is_over(driver: Driver | None, now_s: float) -> bool:
    """Return whether trials that are running in the ledger were interrupted; False if that is not known."""
    return driver is not None and not is_alive(driver, now_s)


def finish_driver(results: StudyPaths, now_s: float) -> None:
    """Write that a study is done whose driver was interrupted, was killed or failed after its last trial had ended.

    Call it only if a trial completed: a study without one stays failed.
    """
    driver = read_driver(results)
    if driver is not None and driver.state is not DriverState.DONE and not is_alive(driver, now_s):
        ended = driver.ended or driver.heartbeat
        _write(results, driver.model_copy(update={"state": DriverState.DONE, "reason": "", "ended": ended}))


def process_exists(driver: Driver) -> bool | None:
    """Return whether the process of a driver exists; None if it belongs to another machine or container."""
    if driver.process.rpartition("/")[0] != _machine():
        return None
    return find_process(driver.pid) == driver.process


def find_process(pid: int) -> str | None:
    """Return a string that identifies a process on this machine, None if it does not exist.

    The string holds the machine and the start of the process, since the system uses the ids of ended processes again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except OSError:  # the process of another user
            pass
        return f"{_machine()}/"
    state, *fields = stat.rpartition(")")[2].split()  # the name of the program, in brackets, may hold spaces
    return None if state in "ZX" else f"{_machine()}/{fields[18]}"


def _machine() -> str:
    """Return a string that differs between machines, their restarts, and containers with processes of their own."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


class DriverRecord:
    """Write driver.json from the start to the end of a block, however the block ends.

    A heartbeat that cannot be written is left out, and an end that cannot be written never hides the error that ended
    the block.

    Example:
        Limits that end a study are not errors, so the block states them::

            with DriverRecord(results, "uv run study/run.py --resume") as record:
                search()
                record.ends(DriverState.INTERRUPTED, "the time was up")

    Args:
        results: The study's files.
        resume: The command that resumes the study.
        interval_s: Seconds between two heartbeats.
        clock: Returns Unix seconds.
    """

    def __init__(
        self,
        results: StudyPaths,
        resume: str = "",
        *,
        interval_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._results, self._clock = results, clock
        self._interval_s = interval_s or (STORE_HEARTBEAT_S if in_store(results.root) else HEARTBEAT_S)
        now = to_iso(clock())
        self._driver = Driver(
            state=DriverState.RUNNING,
            started=now,
            heartbeat=now,
            resume=resume,
            folder=str(Path.cwd()),
            host=socket.gethostname(),
            pid=os.getpid(),
            process=find_process(os.getpid()) or "",
        )
        self._end = (DriverState.DONE, "")
        self._writing = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> "DriverRecord":
        """Write the state `running` and start the heartbeat."""
        _write(self._results, self._driver)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        return self

    def ends(self, state: DriverState, reason: str = "") -> None:
        """Set the end that is written if the block ends without an error; without this call it is `done`."""
        self._end = (state, " ".join(reason.split()))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Write the end: that of the error, or the one that was set."""
        state, reason = self._end if error is None else end_of(error)
        self._over.set()
        now = to_iso(self._clock())
        ended = {"state": state, "reason": reason, "heartbeat": now, "ended": now}
        with suppress(Exception), self._writing:
            _write(self._results, self._driver.model_copy(update=ended))

    def _beat(self) -> None:
        while not self._over.wait(self._interval_s):
            with self._writing:
                if not self._over.is_set():
                    with suppress(Exception):  # such as a full disk: the next one may be written
                        _write(self._results, self._driver.model_copy(update={"heartbeat": to_iso(self._clock())}))


def _write(results: StudyPaths, driver: Driver) -> None:
    write_text(results.driver, driver.model_dump_json(by_alias=True, indent=2) + "\n")


def end_of(error: BaseException) -> tuple[DriverState, str]:
    """Return the state and the reason with which an error ends a driver.

    A library that is interrupted may raise an error of its own, so the errors that came before count as well.

    >>> end_of(KeyboardInterrupt("SIGTERM"))
    (<DriverState.INTERRUPTED: 'interrupted'>, 'SIGTERM')
    """
    chain = list(_chain(error))
    for earlier in chain:
        if isinstance(earlier, KeyboardInterrupt):
            return DriverState.INTERRUPTED, str(earlier) or "Ctrl-C"
    if any(isinstance(earlier, BrokenPipeError) for earlier in chain):
        return DriverState.INTERRUPTED, "its output was closed"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return DriverState.FAILED, f"no space left on the disk ({error.filename})" if error.filename else "disk full"
    text = " ".join(str(error).split())
    return DriverState.FAILED, text if isinstance(error, UserError | OSError) else f"{type(error).__name__}: {text}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
