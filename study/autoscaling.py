"""Nodes that trials may use: those of the cluster that are alive, and those that its autoscaler may start."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from study.slots import Node

HEAD_RESOURCE = "node:__internal_head__"
"""What Ray gives the head node and no other."""

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where `ray up` leaves the cluster's YAML on its head node."""


def find_nodes(
    alive: Sequence[Mapping[str, float]], address: str | None, bootstrap: Path | None = None
) -> tuple[Node, ...]:
    """The machines of a Ray that was started or joined, by the resources of those that are alive.

    On the head of a cluster that `ray up` made, its YAML says which workers the autoscaler may add: all of them count,
    alive or not.
    """
    file = (bootstrap or BOOTSTRAP).expanduser()
    workers = _startable(yaml.safe_load(file.read_text(encoding="utf-8"))) if address and file.exists() else ()
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
