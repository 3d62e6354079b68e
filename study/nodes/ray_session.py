"""Ray session: start Ray on this machine or join a cluster, for the duration of a study.

On this machine, Ray starts in a thread (`LocalRay`), while the command imports what the search needs.
"""

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Event, Thread
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.deployment import IN_A_JOB, PACKAGE
from study.nodes.node_probe import PACKAGES
from study.nodes.ray_address import cluster_file, configure_ray_environment
from study.nodes.ray_start import describe_ray_logs, prepare_ray_start
from study.nodes.resources import Node, count_machines, find_nodes, wait_for_machines
from study.terminal import duration

POLL_S = 0.05
"""Seconds between two looks at whether Ray has been shut down."""

INTERRUPT_WAIT_S = 10.0
"""Seconds that an interrupt waits for Ray to start, before it ends Ray with the process."""

MAX_STARTS = 3
"""Number of attempts to start Ray."""


SYSTEM_CONFIG = {"enable_metrics_collection": False}
"""Nothing reads the metrics of this Ray, and at its end the driver may wait 10 s to export the last ones."""

PRELOADED = "study.tuning.ray_trial"
"""The module of a trial's worker, which imports torch and Ray Tune."""


class LocalRay:
    """A Ray on this machine, which starts within a block while the caller does something else, and ends with it.

    Its workers import what a trial needs as soon as they start, if trials are likely to fill them.

    Args:
        study: The study. Its resources tell how many workers trials need.
        say: Prints a line when Ray begins to start, and when it has started.
    """

    def __init__(self, study: StudyConfig, say: Callable[[str], None] = print) -> None:
        self._say = say
        self._preloads = 2 * _num_workers(study) >= (os.cpu_count() or 1)
        self._started, self._over = Event(), Event()
        self._start_s = 0.0
        self._error: UserError | None = None

    def __enter__(self) -> "LocalRay":
        """Start Ray in a thread."""
        self._say("starting Ray on this machine")
        Thread(target=self._run, name="ray", daemon=True).start()
        return self

    def wait(self) -> tuple[Node, ...]:
        """Wait until Ray has started, and return this machine as a node.

        Raises:
            UserError: If Ray does not start.
        """
        self._started.wait()
        if self._error is not None:
            raise self._error
        self._say(f"Ray has started in {duration(self._start_s)}")
        return usable_nodes(None)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Stop Ray, as soon as it has started.

        An interrupt does not wait for long: it may have come while this thread held the lock of imports, which the
        other thread then waits for. Ray's processes end with this process.
        """
        self._over.set()
        is_interrupt = kind is not None and issubclass(kind, KeyboardInterrupt)
        if self._started.wait(INTERRUPT_WAIT_S if is_interrupt else None):
            ray.shutdown()

    def _run(self) -> None:
        """Start Ray, and live until the block ends: Ray's processes are killed when the thread that began them ends."""
        begun_s = time.monotonic()
        try:
            _start_ray(self._preloads, self._over.is_set)
        except UserError as error:
            self._error = error
        self._start_s = time.monotonic() - begun_s
        self._started.set()
        while ray.is_initialized():
            self._over.wait()
            time.sleep(POLL_S)


def _num_workers(study: StudyConfig) -> int:
    """Return how many trials run at a time on this machine if GPUs do not limit them."""
    num_trials = sum(plan.num_trials for plan in study.plans)
    return min(int((os.cpu_count() or 1) // study.cpus_per_trial), study.max_concurrent or num_trials, num_trials)


@contextmanager
def ray_session(study: StudyConfig, say: Callable[[str], None] = print) -> Generator[tuple[Node, ...]]:
    """Start Ray on this machine, or join the cluster at --ray-address, and disconnect at the end.

    Args:
        study: The study; its `ray_address` is used.
        say: Prints a line when Ray starts, and while the session waits for machines.

    Yields:
        The nodes that trials may use, including those that the autoscaler may start.

    Raises:
        UserError: If Ray does not start, or no cluster answers.
    """
    configure_ray_environment()
    if study.ray_address is None:
        prepare_ray_start(say)
        with LocalRay(study, say) as local:
            yield local.wait()
        return
    on_terminate = signal.getsignal(signal.SIGTERM)
    _join_ray(study.ray_address)
    signal.signal(signal.SIGTERM, on_terminate)  # Ray replaces it by a handler that ends the process at once
    try:
        wait_for_machines(count_machines(cluster_file(study.ray_address)), lambda: len(_alive()), say)
        yield usable_nodes(study.ray_address)
    finally:
        ray.shutdown()


def usable_nodes(address: str | None) -> tuple[Node, ...]:
    """Return the nodes that trials may use: those that are alive, and those that the autoscaler may start."""
    return find_nodes([node["Resources"] for node in _alive()], address, cluster_file(address))


def count_gpus() -> float:
    """Return the number of GPUs of all nodes that are alive."""
    return sum(node["Resources"].get("GPU", 0.0) for node in _alive())


@contextmanager
def captured_stderr() -> Generator[Callable[[], str]]:
    """Capture what this process, its C++ libraries included, writes to stderr; yield a function that returns it.

    Ray's C++ core prints its own errors, but an error of a command must be one line.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        original = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _start_ray(preloads: bool, is_over: Callable[[], bool]) -> None:
    """Start Ray on this machine; try again if it was too busy to start within Ray's own 30 seconds.

    Args:
        preloads: Whether workers import the module of a trial as soon as they start.
        is_over: Returns whether Ray is not needed any more.
    """
    for attempt in range(1, MAX_STARTS + 1):
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _system_config=SYSTEM_CONFIG | ({"preload_python_modules": [PRELOADED]} if preloads else {}),
            )
            return
        except Exception as error:  # Ray raises no class of its own here
            is_busy = "timed out during startup" in str(error)
            if not is_busy or attempt == MAX_STARTS or is_over():
                logs = describe_ray_logs()
                busy = "where the machine was too busy, give the same command again" if is_busy else ""
                ways_out = "; ".join(clause for clause in (logs, busy) if clause) or "--executor serial needs no Ray"
                raise UserError(f"Ray did not start on this machine ({error}); {ways_out}.") from error
            ray.shutdown()


def _join_ray(address: str) -> None:
    """Join the Ray at an address; raise UserError if it does not answer, or requires another token."""
    with captured_stderr() as stderr:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=_this_code(address))
        except Exception as error:  # Ray raises errors of many classes here
            if isinstance(error, AuthenticationError) or "InvalidAuthToken" in stderr():
                raise UserError(
                    f"--ray-address: the Ray cluster at '{address}' asks for a token that this command does not have; "
                    "give RAY_AUTH_MODE=token and its token, in ~/.ray/auth_token or RAY_AUTH_TOKEN."
                ) from error
            raise UserError(
                f"--ray-address: no Ray cluster answers at '{address}' ({error}); "
                "start one with the same versions of Ray and Python, or leave it out."
            ) from error


def _this_code(address: str) -> dict[str, Any] | None:
    """Return a runtime environment that copies the driver's code to every node of a cluster that `ray up` made.

    Return None for a Ray job, which has copied its working folder, and for nodes that were started by hand: several of
    them may be on one machine, where their agents would write to the same folder while workers read it.
    """
    if IN_A_JOB in os.environ or cluster_file(address) is None:
        return None
    folders = [PACKAGE.parent / name for name in PACKAGES]
    return {"py_modules": [str(folder) for folder in folders], "excludes": ["__pycache__"]}
