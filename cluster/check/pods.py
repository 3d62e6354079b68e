"""Pods of a KubeRay cluster: image, limits, the ConfigMaps that they name, and an output that outlives them."""

import math
import re
from collections import Counter
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.finding import Finding, mapping, nearest, sequence, step, whole
from cluster.check.versions import Locked, check_image
from pan_model.errors import UserError
from study.nodes.resources import WORKERS, Node, read_workers

GPU = "nvidia.com/gpu"


def container_of(group: dict[str, Any]) -> dict[str, Any]:
    """The container that Ray runs in: the first of a group's pod."""
    containers = sequence(mapping(mapping(group.get("template")).get("spec")).get("containers"))
    return mapping(containers[0]) if containers else {}


def gpus_of(group: dict[str, Any]) -> int:
    """GPUs of one pod of a worker group."""
    limits = mapping(mapping(container_of(group).get("resources")).get("limits"))
    return int(str(limits.get(GPU, 0))) if str(limits.get(GPU, 0)).isdigit() else 0


def environment_of(group: dict[str, Any], values: dict[str, Any]) -> dict[Any, Any]:
    """What the container is told: by the ConfigMaps that it names, and by its own variables, which go before.

    A variable whose value the cluster alone knows (valueFrom) is None.
    """
    container = container_of(group)
    environment: dict[Any, Any] = {}
    for name in config_maps_of(container):
        environment |= values.get(name, {})
    own = [mapping(one) for one in sequence(container.get("env"))]
    return environment | {one.get("name"): one.get("value") for one in own}


def config_maps_of(container: dict[str, Any]) -> list[str]:
    """The names of the ConfigMaps from which a container has its environment."""
    references = [mapping(mapping(one).get("configMapRef")) for one in sequence(container.get("envFrom"))]
    return [str(reference.get("name")) for reference in references if reference]


def cpus_of(group: dict[str, Any]) -> int | None:
    """CPUs of one pod as KubeRay tells Ray: the limit, rounded up; thousandths end in m. None where it is no number."""
    limit = str(mapping(mapping(container_of(group).get("resources")).get("limits")).get("cpu", ""))
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", limit)
    return math.ceil(float(found[1]) / (1000 if found[2] else 1)) if found else None


def config_values(documents: list[Any]) -> dict[str, Any]:
    """What ConfigMaps of the same file hold, by their names."""
    maps = [mapping(document) for document in documents if mapping(document).get("kind") == "ConfigMap"]
    return {str(mapping(one.get("metadata")).get("name")): mapping(one.get("data")) for one in maps}


def check_pod(where: str, group: dict[str, Any], values: dict[str, Any], locked: Locked) -> list[Finding]:
    """What a group's pods are made of; `values` are those of the file's ConfigMaps."""
    place = step(where, "template.spec.containers[0]")
    container = container_of(group)
    findings: list[Finding] = []
    image = container.get("image")
    if not isinstance(image, str):
        findings.append(Finding(where=step(place, "image"), what="it is missing; cluster/Dockerfile makes one."))
    else:
        findings += check_image(step(place, "image"), image, locked)
    for resource in ("cpu", "memory"):
        if resource not in mapping(mapping(container.get("resources")).get("limits")):
            what = f"{resource} is missing; Ray takes it for what a pod has."
            findings.append(Finding(where=step(place, "resources.limits"), what=what))
        elif resource == "cpu" and not cpus_of(group):
            limit = container["resources"]["limits"]["cpu"]
            what = f"cpu must be a number of CPUs, such as 7 or 7500m, got '{limit}'."
            findings.append(Finding(where=step(place, "resources.limits"), what=what))
    pod = mapping(mapping(group.get("template")).get("spec"))
    for kind in ("initContainers", "containers"):
        for index, part in enumerate(map(mapping, sequence(pod.get(kind)))):
            findings += _check_config_maps(step(step(where, f"template.spec.{kind}"), index), part, values)
    return findings + _check_output(place, environment_of(group, values), container)


def _check_config_maps(where: str, container: dict[str, Any], values: dict[str, Any]) -> list[Finding]:
    return [
        Finding(
            where=step(where, "envFrom"),
            what=f"there is no ConfigMap '{name}' in this file{nearest(name, values) or '; add it.'}",
        )
        for name in config_maps_of(container)
        if name not in values
    ]


def _check_output(where: str, environment: dict[Any, Any], container: dict[str, Any]) -> list[Finding]:
    output = str(environment.get("PAN_STUDY_OUTPUT", ""))
    mounts = [str(mapping(mount).get("mountPath")) for mount in sequence(container.get("volumeMounts"))]
    if is_placeholder(output) or output.startswith("s3://") or any(output.startswith(f"{mount}/") for mount in mounts):
        return []
    what = f"PAN_STUDY_OUTPUT must be s3://BUCKET/.. or in a mounted volume, got '{output}': else it goes with the pod."
    return [Finding(where=step(where, "envFrom"), what=what)]


def check_declared_workers(where: str, spec: dict[str, Any], values: dict[str, Any]) -> list[Finding]:
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
