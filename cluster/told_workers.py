"""Workers that a study on Kubernetes is told of: those that its cluster's worker groups may become, no others."""

from collections import Counter
from typing import Any

from cluster.finding import Finding, mapping, sequence, step, whole
from cluster.pods import config_maps_of, container_of, cpus_of, environment_of, gpus_of
from pan_model.errors import UserError
from study.nodes.node import WORKERS, Node, read_workers


def check_told_workers(where: str, spec: dict[str, Any], values: dict[str, Any]) -> list[Finding]:
    """That the head's environment names the most pods that all groups may have, and what one of them has for trials.

    Where a group's numbers or the head's ConfigMap are wrong themselves, that is told elsewhere, and nothing here.
    """
    groups = [mapping(group) for group in sequence(spec.get("workerGroupSpecs"))]
    head = mapping(spec.get("headGroupSpec"))
    known = all(name in values for name in config_maps_of(container_of(head)))
    if not known or not groups or not all(_count(group) and _node(group).cpus for group in groups):
        return []
    place = step(where, "headGroupSpec.template.spec.containers[0].envFrom")
    wanted = " + ".join(_describe(group) for group in groups)
    environment = environment_of(head, values)
    if WORKERS not in environment:
        what = f"{WORKERS} is missing, by which a study plans with workers yet to come; add {WORKERS}: {wanted}"
        return [Finding(where=place, what=what)]
    told = environment[WORKERS]
    if told is None:
        return []
    try:
        same = Counter(read_workers(str(told))) == Counter(node for group in groups for node in _nodes(group))
    except UserError as error:
        return [Finding(where=place, what=str(error))]
    what = f"{WORKERS} must be what workerGroupSpecs may become, '{wanted}', got '{told}'; change one of the two."
    return [] if same else [Finding(where=place, what=what)]


def _count(group: dict[str, Any]) -> int:
    """The most pods of a group."""
    return max(0, whole(group.get("maxReplicas"))) * max(1, whole(group.get("numOfHosts"), 1))


def _node(group: dict[str, Any]) -> Node:
    """What one pod has for trials: its limits, unless rayStartParams say otherwise."""
    params = mapping(group.get("rayStartParams"))
    cpus, gpus = params.get("num-cpus", cpus_of(group)), params.get("num-gpus", gpus_of(group))
    return Node(cpus=_number(cpus), gpus=_number(gpus))


def _number(value: object) -> float:
    return float(str(value)) if str(value).isdigit() else 0.0


def _nodes(group: dict[str, Any]) -> list[Node]:
    return [_node(group)] * _count(group)


def _describe(group: dict[str, Any]) -> str:
    node = _node(group)
    return f"{_count(group)} x CPU={node.cpus:g}{f',GPU={node.gpus:g}' if node.gpus else ''}"
