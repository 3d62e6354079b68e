"""Nodes that trials may use: those of the cluster that are alive, and those that its autoscaler may start."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from study.nodes.node import WORKERS, Node, read_workers

HEAD_RESOURCE = "node:__internal_head__"
"""What Ray gives the head node and no other."""

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` leaves the cluster's YAML on its head node."""


def find_nodes(
    alive: Sequence[Mapping[str, float]],
    address: str | None,
    bootstrap: Path | None,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Node, ...]:
    """The machines of a Ray that was started or joined, by the resources of those that are alive.

    On the head of a cluster that `ray up` made, its YAML, `bootstrap`, says which workers the autoscaler may add;
    elsewhere the environment may, as in cluster/kuberay.yaml. All of them count, alive or not. Raises UserError when
    the environment variable is malformed.
    """
    workers: tuple[Node, ...] = ()
    if address and environment.get(WORKERS):
        workers = read_workers(environment[WORKERS])
    elif address and bootstrap:
        workers = _startable(yaml.safe_load(bootstrap.read_text(encoding="utf-8")))
    if not workers:
        return tuple(_node(resources) for resources in alive)
    return (*(_node(resources) for resources in alive if HEAD_RESOURCE in resources), *workers)


def _startable(cluster: Mapping[str, Any]) -> tuple[Node, ...]:
    """The workers of a cluster's YAML at its full size, those with most GPUs first.

    >>> _startable(
    ...     {"max_workers": 2, "available_node_types": {"gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4}}}
    ... )
    (Node(cpus=8.0, gpus=1.0), Node(cpus=8.0, gpus=1.0))
    """
    most = int(cluster.get("max_workers", 0))
    kinds = cluster.get("available_node_types", {})
    nodes = [
        _node(kind.get("resources", {}))
        for name, kind in kinds.items()
        if name != cluster.get("head_node_type")
        for _ in range(min(most, int(kind.get("max_workers", most))))
    ]
    return tuple(sorted((node for node in nodes if node.cpus), key=lambda node: (-node.gpus, -node.cpus))[:most])


def _node(resources: Mapping[str, Any]) -> Node:
    return Node(cpus=float(resources.get("CPU", 0)), gpus=float(resources.get("GPU", 0)))
