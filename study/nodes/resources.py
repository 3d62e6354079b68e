"""Resources: the CPUs and GPUs of the nodes of a cluster, including workers that are yet to start.

`python -m cluster.check` imports this module: it must load neither torch nor Ray.
"""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pan_model.command_line import counted
from pan_model.errors import UserError

WORKERS = "PAN_STUDY_WORKERS"
"""Environment variable with the workers that an autoscaler may start: "4 x CPU=7,GPU=1", kinds joined by " + "."""

HEAD_RESOURCE = "node:__internal_head__"
"""The resource that only the head node has."""

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""The cluster's YAML, which `ray up` copies to the head node."""

JOIN_TIMEOUT_S = 600.0
"""Time that a study waits for workers. On a new machine, `make setup` downloads gigabytes before the node joins."""

POLL_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Node:
    """The CPUs and GPUs of a node, as Ray counts them."""

    cpus: float
    gpus: float


def read_workers(text: str) -> tuple[Node, ...]:
    """Parse the value of PAN_STUDY_WORKERS; raise UserError if it is malformed.

    >>> read_workers("2 x CPU=7,GPU=1 + 1 x CPU=15")
    (Node(cpus=7.0, gpus=1.0), Node(cpus=7.0, gpus=1.0), Node(cpus=15.0, gpus=0.0))
    """
    nodes: list[Node] = []
    for kind in text.split(" + "):
        match = re.fullmatch(r"(\d+) x CPU=(\d+)(?:,GPU=(\d+))?", kind)
        if match is None:
            raise UserError(
                f"{WORKERS} must be a number of workers and what each has, as in '4 x CPU=7,GPU=1', several kinds "
                f"joined by ' + ', got '{text}'."
            )
        nodes += [Node(cpus=float(match[2]), gpus=float(match[3] or 0))] * int(match[1])
    return tuple(nodes)


def find_nodes(
    alive: Sequence[Mapping[str, float]],
    address: str | None,
    bootstrap: Path | None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Node, ...]:
    """Return the nodes that trials may use: nodes that are alive, and workers that the autoscaler may start.

    The workers come from PAN_STUDY_WORKERS, as cluster/kuberay.yaml sets it, or from the cluster's YAML on a head node
    that `ray up` made. They count whether or not they are alive.

    Args:
        alive: The Ray resources of each node that is alive.
        address: The address of the cluster, or None for a Ray that the study starts itself.
        bootstrap: The cluster's YAML if this machine is its head node, else None.
        environment: The environment variables of the process.

    Raises:
        UserError: If PAN_STUDY_WORKERS is malformed.
    """
    workers: tuple[Node, ...] = ()
    if address and environment.get(WORKERS):
        workers = read_workers(environment[WORKERS])
    elif address and bootstrap:
        workers = _workers_of(yaml.safe_load(bootstrap.read_text(encoding="utf-8")))
    if not workers:
        return tuple(_node(resources) for resources in alive)
    return (*(_node(resources) for resources in alive if HEAD_RESOURCE in resources), *workers)


def count_machines(bootstrap: Path | None) -> int:
    """Return the number of on-premise machines that a cluster's YAML lists, including the head.

    Return 1 without a YAML, and for a cloud provider, whose machines start on demand. The CPUs and GPUs of on-premise
    machines are unknown until they join.
    """
    cluster = {} if bootstrap is None else yaml.safe_load(bootstrap.read_text(encoding="utf-8"))
    if cluster.get("provider", {}).get("type") != "local":
        return 1
    return 1 + sum(int(kind.get("min_workers", 0)) for kind in cluster.get("available_node_types", {}).values())


def wait_for_machines(
    wanted: int,
    count_alive: Callable[[], int],
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until all on-premise machines have joined: `ray up` returns as soon as the head is ready.

    After JOIN_TIMEOUT_S the study continues with the machines that have joined.

    Args:
        wanted: The number of machines of the cluster.
        count_alive: Returns the number of machines that have joined.
        say: Prints a line.
        clock: Returns the time in seconds.
        sleep: Waits for a number of seconds.
    """
    end_s = clock() + JOIN_TIMEOUT_S
    if (alive := count_alive()) >= wanted:
        return
    say(
        f"{alive} of {counted(wanted, 'machine')} have joined the cluster: waiting for the others, at most "
        f"{JOIN_TIMEOUT_S / 60:g} minutes; `ray monitor cluster/FILE.yaml` shows their progress."
    )
    while (alive := count_alive()) < wanted and clock() < end_s:
        sleep(POLL_S)
    if alive < wanted:
        say(f"continuing with {alive} of {counted(wanted, 'machine')}; remove those that are off from worker_ips.")


def usable_cpus(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the number of cores that this process may use: those of its affinity, within the quota of its container.

    Args:
        quota: The file with the microseconds of CPU time in a period, or `max`, and those of the period.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        granted, period = quota.read_text(encoding="ascii").split()
        return min(cores, max(1, int(granted) // int(period)))
    except (OSError, ValueError):  # no container, or no quota
        return cores


def _workers_of(cluster: Mapping[str, Any]) -> tuple[Node, ...]:
    """Return the workers of a cluster's YAML at its full size, those with most GPUs first.

    >>> _workers_of(
    ...     {"max_workers": 2, "available_node_types": {"gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4}}}
    ... )
    (Node(cpus=8.0, gpus=1.0), Node(cpus=8.0, gpus=1.0))
    """
    max_workers = int(cluster.get("max_workers", 0))
    kinds = cluster.get("available_node_types", {})
    nodes = [
        _node(kind.get("resources", {}))
        for name, kind in kinds.items()
        if name != cluster.get("head_node_type")
        for _ in range(min(max_workers, int(kind.get("max_workers", max_workers))))
    ]
    return tuple(sorted((node for node in nodes if node.cpus), key=lambda node: (-node.gpus, -node.cpus))[:max_workers])


def _node(resources: Mapping[str, Any]) -> Node:
    return Node(cpus=float(resources.get("CPU", 0)), gpus=float(resources.get("GPU", 0)))
