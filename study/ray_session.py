"""A Ray for as long as a study runs: one of its own on this machine, or a cluster that is there."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from pan_model.errors import BadInput
from study.autoscaling import BOOTSTRAP, HEAD_RESOURCE, find_nodes
from study.config import StudyConfig
from study.node_probe import PACKAGES
from study.own_machines import count_machines, wait_for_machines
from study.sent_code import IN_A_JOB, PACKAGE
from study.slots import Node

RAY_STARTS = 3
"""How often Ray is started until it counts as failed."""


@contextmanager
def ray_session(study: StudyConfig, say: Callable[[str], None] = print) -> Generator[tuple[Node, ...]]:
    """Start Ray on this machine, or join the cluster at --ray-address, for as long as the study runs.

    Says what it waits for. Gives the machines that trials may use, those included that the autoscaler may start. Raises
    BadInput when Ray does not start or no cluster answers.
    """
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        _start_ray(study.ray_address)
    except Exception as error:  # Ray raises what it likes, and a plain Exception where a busy machine is too slow
        if study.ray_address is None:
            raise BadInput(
                f"Ray did not start on this machine ({error}); where it was too busy, give the same command again."
            ) from error
        raise BadInput(
            f"--ray-address: no Ray cluster answers at '{study.ray_address}' ({error}); "
            "start one with the same versions of Ray and Python, or leave it out."
        ) from error
    signal.signal(signal.SIGTERM, on_terminate)  # Ray's own would end the process at once
    try:
        if study.ray_address is not None:
            wait_for_machines(count_machines(_cluster_file()), lambda: len(_alive()), say)
        yield joined_nodes(study.ray_address)
    finally:
        ray.shutdown()


def joined_nodes(address: str | None) -> tuple[Node, ...]:
    """The machines that trials may use now, of the Ray that was started (no address) or joined."""
    return find_nodes([node["Resources"] for node in _alive()], address, _cluster_file())


def count_gpus() -> float:
    """GPUs of all nodes of the cluster that are alive."""
    return sum(node["Resources"].get("GPU", 0.0) for node in _alive())


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _cluster_file() -> Path | None:
    """The YAML that `ray up` left on the head of the cluster that was joined; None on any other machine."""
    heads = [node["NodeManagerHostname"] for node in _alive() if HEAD_RESOURCE in node["Resources"]]
    file = BOOTSTRAP.expanduser()
    return file if socket.gethostname() in heads and file.exists() else None


def _start_ray(address: str | None) -> None:
    """Start or join Ray, once more where a busy machine did not get it up in Ray's own half minute."""
    for start in range(1, RAY_STARTS + 1):
        try:
            ray.init(
                address=address or "local",
                include_dashboard=False if address is None else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=None if address is None else _this_code(),
            )
            return
        except Exception as error:  # what Ray raises then is of no kind of its own
            if "timed out during startup" not in str(error) or start == RAY_STARTS:
                raise
            ray.shutdown()


def _this_code() -> dict[str, Any] | None:
    """What brings the driver's own code to every node of a cluster that `ray up` made, so that none runs an older one.

    A job has brought its working folder already. Where nodes were started by hand, they may be several on one machine,
    whose agents would write to one folder, each anew, while workers read it.
    """
    if IN_A_JOB in os.environ or not BOOTSTRAP.expanduser().exists():
        return None
    folders = [PACKAGE.parent / name for name in PACKAGES]
    return {"py_modules": [str(folder) for folder in folders], "excludes": ["__pycache__"]}
