"""Ray address: find the cluster that a study joins. Connections are tested first, since Ray waits for minutes."""

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from pan_model.command_line import counted
from pan_model.errors import UserError
from study.nodes.resources import BOOTSTRAP, Node

TIMEOUT_S = 5
LOCAL = "local"
"""The address with which a study starts Ray on this machine."""

RAY_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the trials write their own events
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output engine prints even if verbose is 0
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt ends the study at once; the ledger stays consistent
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` uses the installed environment; Ray must not pack one
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # RoundRobinSearcher limits the pending trials
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # it takes SIGTERM, which interrupts a study, for a crash
}
"""Environment variables of Ray and Tune. Some are read when `ray` is imported."""


def configure_ray_environment() -> None:
    """Set the environment variables of Ray and Tune that have no value yet; call it before `ray` is imported."""
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def find_cluster(
    given: str | None, environment: Mapping[str, str] = os.environ, bootstrap: Path | None = None
) -> str | None:
    """Return the address of the cluster to join, or None if the study starts Ray itself.

    Without --ray-address, this is RAY_ADDRESS, which `ray job submit` sets. On a head node that `ray up` made, it is
    the address of the Ray that runs there.

    Args:
        given: The value of --ray-address.
        environment: The environment variables of the process.
        bootstrap: The cluster's YAML on a head node; BOOTSTRAP if None.

    Raises:
        UserError: If an address is malformed, or no Ray answers there.
    """
    if given is not None or environment.get("RAY_ADDRESS"):
        source = "--ray-address" if given is not None else "RAY_ADDRESS"
        address = given or environment["RAY_ADDRESS"]
        check_ray_address(address, source)
        return None if address == LOCAL else address
    address = _local_ray(environment) if (bootstrap or BOOTSTRAP).expanduser().exists() else None
    return address if address and _connection_error(address) is None else None


def check_ray_address(address: str | None, source: str = "--ray-address") -> None:
    """Raise UserError if an address is not HOST:PORT, auto or local, or if nothing listens there.

    Args:
        address: The address, or None if none is set.
        source: The flag or environment variable that the address is from, for the message.
    """
    if address in (None, "auto", LOCAL):
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()) or "/" in host or ":" in host.strip("[]"):
        name = "ray_address" if source == "--ray-address" else source
        way_out = "." if source == "--ray-address" else f"; unset {source}, or give --ray-address."
        raise UserError(f"{name} must be HOST:PORT of a head node, auto or {LOCAL}, got '{address}'{way_out}")
    if error := _connection_error(address):
        way_out = "leave it out" if source == "--ray-address" else f"unset {source}"
        raise UserError(
            f"{source}: no Ray cluster answers at '{address}' ({error}); start one, or {way_out}."
        ) from error


def cluster_file(address: str | None, bootstrap: Path | None = None) -> Path | None:
    """Return the YAML that `ray up` left on this machine if the Ray at the address runs here, else None.

    The YAML does not describe a cluster elsewhere, nor a Ray that the study starts itself.
    """
    file = (bootstrap or BOOTSTRAP).expanduser()
    return file if address is not None and file.exists() and _is_this_machine(address) else None


def describe_cluster(address: str, nodes: Sequence[Node]) -> str:
    """Return a line about the cluster that was joined and the resources that trials may use.

    >>> describe_cluster("10.0.0.1:6379", [Node(cpus=8.0, gpus=0.0), Node(cpus=16.0, gpus=4.0)])
    'joined the Ray cluster at 10.0.0.1:6379: 2 nodes, 24 CPUs, 4 GPUs, including those that it may start'
    """
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    resources = ", ".join([counted(len(nodes), "node"), counted(cpus, "CPU"), counted(gpus, "GPU")])
    return f"joined the Ray cluster at {address}: {resources}, including those that it may start"


def _local_ray(environment: Mapping[str, str]) -> str | None:
    """Return the address that `ray start` stores on its machine."""
    folder = environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or "/tmp"  # the order is Ray's
    file = Path(folder) / "ray" / "ray_current_cluster"
    return file.read_text(encoding="utf-8").strip() or None if file.is_file() else None


def _is_this_machine(address: str) -> bool:
    """Return whether the host of an address is this machine: only then can a socket be bound to it."""
    if address == "auto":
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _connection_error(address: str) -> OSError | OverflowError | None:
    """Return None if a connection to the address can be opened, else the error."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        return error
    return None
