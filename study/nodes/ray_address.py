"""Which Ray a study joins, and whether it is there: Ray itself would wait for minutes where nobody listens."""

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from pan_model.errors import UserError
from study.nodes.autoscaling import BOOTSTRAP
from study.nodes.node import Node

TIMEOUT_S = 5
LOCAL = "local"
"""The address that means a Ray of the study's own."""


def find_cluster(
    given: str | None, environment: Mapping[str, str] = os.environ, bootstrap: Path | None = None
) -> str | None:
    """The address of the cluster to join, checked; None for a Ray of the study's own.

    Without --ray-address that is RAY_ADDRESS, which `ray job submit` sets, or, on the head node that `ray up` made, the
    Ray that runs there.

    Raises UserError when an address is no HOST:PORT, or nothing listens there.
    """
    if given is not None or environment.get("RAY_ADDRESS"):
        named = "--ray-address" if given is not None else "RAY_ADDRESS"
        address = given or environment["RAY_ADDRESS"]
        check_ray_address(address, named)
        return None if address == LOCAL else address
    address = _started_here(environment) if (bootstrap or BOOTSTRAP).expanduser().exists() else None
    return address if address and _listens(address) is None else None


def check_ray_address(address: str | None, named: str = "--ray-address") -> None:
    """UserError when an address is not HOST:PORT, auto or local, or when nothing listens there."""
    if address in (None, "auto", LOCAL):
        return
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal()) or "/" in host or ":" in host.strip("[]"):
        name = "ray_address" if named == "--ray-address" else named
        way_out = "." if named == "--ray-address" else f"; unset {named}, or give --ray-address."
        raise UserError(f"{name} must be HOST:PORT of a head node, auto or {LOCAL}, got '{address}'{way_out}")
    if error := _listens(address):
        way_out = "leave it out" if named == "--ray-address" else f"unset {named}"
        raise UserError(
            f"{named}: no Ray cluster answers at '{address}' ({error}); start one, or {way_out}."
        ) from error


def cluster_file(address: str | None, bootstrap: Path | None = None) -> Path | None:
    """The YAML that `ray up` left on this machine, where the Ray at the address listens here, too; else None.

    Of a cluster elsewhere, and of a Ray of the study's own, it says nothing.
    """
    file = (bootstrap or BOOTSTRAP).expanduser()
    return file if address is not None and file.exists() and _is_here(address) else None


def describe_cluster(address: str, nodes: Sequence[Node]) -> str:
    """The cluster that was joined and what trials may use of it, for the screen.

    >>> describe_cluster("10.0.0.1:6379", [Node(cpus=8.0, gpus=0.0), Node(cpus=16.0, gpus=4.0)])
    'joined the Ray cluster at 10.0.0.1:6379: 2 nodes, 24 CPUs, 4 GPUs, those included that it may start'
    """
    count = f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}"
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    return (
        f"joined the Ray cluster at {address}: {count}, {cpus:g} CPUs, {gpus:g} GPUs, those included that it may start"
    )


def _started_here(environment: Mapping[str, str]) -> str | None:
    """The address that `ray start` notes on its machine."""
    folder = environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or "/tmp"  # the order is Ray's
    noted = Path(folder) / "ray" / "ray_current_cluster"
    return noted.read_text(encoding="utf-8").strip() or None if noted.is_file() else None


def _is_here(address: str) -> bool:
    """Whether an address is one of this machine's: then a port of it can be had."""
    if address == "auto":
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _listens(address: str) -> OSError | OverflowError | None:
    """Nothing when someone listens there, or why nobody can be reached."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        return error
    return None
