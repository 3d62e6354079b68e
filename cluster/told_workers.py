"""Workers that a study on Kubernetes is told of: those that its cluster's worker groups may become, no others."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cluster.finding import Finding, mapping, sequence, step, whole
from cluster.pods import container_of, environment_of, gpus_of
from pan_model.errors import BadInput
from study.autoscaling import WORKERS, read_workers
from study.slots import Node


def check_told_workers(where: str, spec: dict[str, Any], values: dict[str, Any]) -> list[Finding]:
    """That the head's environment names each group's most pods, and what one of them has for trials."""
    groups = [mapping(group) for group in sequence(spec.get("workerGroupSpecs"))]
    if not groups or not all(_has_sizes(group) for group in groups):
        return []  # that is said of the groups
    told = environment_of(mapping(spec.get("headGroupSpec")), values).get(WORKERS)
    place, wanted = step(where, "headGroupSpec"), " + ".join(_describe(group) for group in groups)
    if told is None:
        what = f"{WORKERS} is missing, by which a study plans with workers yet to come; add: {wanted}"
        return [Finding(where=place, what=what)]
    try:
        same = Counter(read_workers(str(told))) == Counter(node for group in groups for node in _nodes(group))
    except BadInput as error:
        return [Finding(where=place, what=str(error))]
    what = f"{WORKERS} must be what workerGroupSpecs may become, '{wanted}', got '{told}'."
    return [] if same else [Finding(where=place, what=what)]


def _has_sizes(group: dict[str, Any]) -> bool:
    return whole(group.get("maxReplicas")) > 0 and _cpus(group) > 0


def _describe(group: dict[str, Any]) -> str:
    gpus = f",GPU={gpus_of(group)}" if gpus_of(group) else ""
    return f"{whole(group.get('maxReplicas'))} x CPU={_cpus(group)}{gpus}"


def _nodes(group: dict[str, Any]) -> Sequence[Node]:
    return (Node(cpus=float(_cpus(group)), gpus=float(gpus_of(group))),) * whole(group.get("maxReplicas"))


def _cpus(group: dict[str, Any]) -> int:
    """CPUs of a pod as KubeRay tells Ray: its limit, rounded up; thousandths end in m."""
    limit = str(mapping(mapping(container_of(group).get("resources")).get("limits")).get("cpu", ""))
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", limit):
        return math.ceil(float(found[1]) / (1000 if found[2] else 1))
    return 0
