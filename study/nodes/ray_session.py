"""Ray session: start Ray on this machine or join a cluster, for the duration of a study."""

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
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

MAX_STARTS = 3
"""Number of attempts to start Ray."""


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
    on_terminate = signal.getsignal(signal.SIGTERM)
    if study.ray_address is None:
        prepare_ray_start(say)
        say("starting Ray on this machine")
        begun_s = time.monotonic()
        _start_ray()
        say(f"Ray has started in {duration(time.monotonic() - begun_s)}")
    else:
        _join_ray(study.ray_address)
    signal.signal(signal.SIGTERM, on_terminate)  # Ray replaces it by a handler that ends the process at once
    try:
        if study.ray_address is not None:
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


def _start_ray() -> None:
    """Start Ray on this machine; try again if it was too busy to start within Ray's own 30 seconds."""
    for attempt in range(1, MAX_STARTS + 1):
        try:
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # Ray raises no class of its own here
            is_busy = "timed out during startup" in str(error)
            if not is_busy or attempt == MAX_STARTS:
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
