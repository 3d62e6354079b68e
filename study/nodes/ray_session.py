"""A Ray for as long as a study runs: one of its own on this machine, or a cluster that is there."""

import logging
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.autoscaling import find_nodes
from study.nodes.deployment import IN_A_JOB, PACKAGE
from study.nodes.node import Node
from study.nodes.node_probe import PACKAGES
from study.nodes.on_premise import count_machines, wait_for_machines
from study.nodes.ray_address import cluster_file
from study.nodes.stderr_aside import stderr_aside

RAY_STARTS = 3
"""How often Ray is started until it counts as failed."""


@contextmanager
def ray_session(study: StudyConfig, say: Callable[[str], None] = print) -> Generator[tuple[Node, ...]]:
    """Start Ray on this machine, or join the cluster at --ray-address, for as long as the study runs.

    Says what it waits for. Gives the machines that trials may use, those included that the autoscaler may start. Raises
    UserError when Ray does not start or no cluster answers.
    """
    on_terminate = signal.getsignal(signal.SIGTERM)
    if study.ray_address is None:
        _start_ray()
    else:
        _join_ray(study.ray_address)
    signal.signal(signal.SIGTERM, on_terminate)  # Ray's own would end the process at once
    try:
        if study.ray_address is not None:
            wait_for_machines(count_machines(cluster_file(study.ray_address)), lambda: len(_alive()), say)
        yield usable_nodes(study.ray_address)
    finally:
        ray.shutdown()


def usable_nodes(address: str | None) -> tuple[Node, ...]:
    """The nodes that trials may use of the Ray that was started (no address) or joined: alive, or yet to be started."""
    return find_nodes([node["Resources"] for node in _alive()], address, cluster_file(address))


def count_gpus() -> float:
    """GPUs of all nodes of the cluster that are alive."""
    return sum(node["Resources"].get("GPU", 0.0) for node in _alive())


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _start_ray() -> None:
    """Start Ray here, once more where a busy machine did not get it up in Ray's own half minute; UserError at last."""
    for start in range(1, RAY_STARTS + 1):
        try:
            ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # what Ray raises then is of no kind of its own
            if "timed out during startup" not in str(error) or start == RAY_STARTS:
                raise UserError(
                    f"Ray did not start on this machine ({error}); where it was too busy, give the same command again."
                ) from error
            ray.shutdown()


def _join_ray(address: str) -> None:
    """Join the Ray at an address; UserError where it does not answer, or answers that it wants a token."""
    with stderr_aside() as said:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=_this_code(address))
        except Exception as error:  # Ray raises what it likes
            if isinstance(error, AuthenticationError) or "InvalidAuthToken" in said():
                raise UserError(
                    f"--ray-address: the Ray cluster at '{address}' asks for a token that this command has not; give "
                    "RAY_AUTH_MODE=token and its token, in ~/.ray/auth_token or RAY_AUTH_TOKEN."
                ) from error
            raise UserError(
                f"--ray-address: no Ray cluster answers at '{address}' ({error}); "
                "start one with the same versions of Ray and Python, or leave it out."
            ) from error


def _this_code(address: str) -> dict[str, Any] | None:
    """What brings the driver's own code to every node of a cluster that `ray up` made, so that none runs an older one.

    A job has brought its working folder already. Where nodes were started by hand, they may be several on one machine,
    whose agents would write to one folder, each anew, while workers read it.
    """
    if IN_A_JOB in os.environ or cluster_file(address) is None:
        return None
    folders = [PACKAGE.parent / name for name in PACKAGES]
    return {"py_modules": [str(folder) for folder in folders], "excludes": ["__pycache__"]}
