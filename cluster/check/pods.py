"""Pods of a KubeRay cluster: image, limits, environment, and the workers that PAN_STUDY_WORKERS declares."""

import math
import re
from collections import Counter
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.problem import Problem, integer, mapping, nearest, sequence, step
from cluster.check.versions import Locked, check_image
from pan_model.errors import UserError
from study.nodes.resources import WORKERS, Node, read_workers

GPU = "nvidia.com/gpu"
DATA_ROOT = "PAN_STUDY_DATA_ROOT"


def container_of(group: dict[str, Any]) -> dict[str, Any]:
    """Return the container that runs Ray, which is the first one of a group's pod."""
    containers = sequence(mapping(mapping(group.get("template")).get("spec")).get("containers"))
    return mapping(containers[0]) if containers else {}


def gpus_of(group: dict[str, Any]) -> int:
    """Return the number of GPUs of one pod of a worker group."""
    limits = mapping(mapping(container_of(group).get("resources")).get("limits"))
    return int(str(limits.get(GPU, 0))) if str(limits.get(GPU, 0)).isdigit() else 0


def environment_of(group: dict[str, Any], values: dict[str, Any]) -> dict[Any, Any]:
    """Return the environment variables of a group's container.

    The container's own variables override those of its ConfigMaps. A variable with `valueFrom`, which only the cluster
    can resolve, is None.
    """
    container = container_of(group)
    environment: dict[Any, Any] = {}
    for name in config_maps_of(container):
        environment |= values.get(name, {})
    own = [mapping(variable) for variable in sequence(container.get("env"))]
    return environment | {variable.get("name"): variable.get("value") for variable in own}


def config_maps_of(container: dict[str, Any]) -> list[str]:
    """Return the names of the ConfigMaps in a container's envFrom."""
    references = [mapping(mapping(source).get("configMapRef")) for source in sequence(container.get("envFrom"))]
    return [str(reference.get("name")) for reference in references if reference]


def cpus_of(group: dict[str, Any]) -> int | None:
    """Return the CPUs of one pod as KubeRay passes them to Ray: the limit, rounded up. None if it is not a number."""
    limit = str(mapping(mapping(container_of(group).get("resources")).get("limits")).get("cpu", ""))
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", limit)
    return math.ceil(float(match[1]) / (1000 if match[2] else 1)) if match else None


def config_values(documents: list[Any]) -> dict[str, Any]:
    """Return the data of the file's ConfigMaps by their names."""
    maps = [mapping(document) for document in documents if mapping(document).get("kind") == "ConfigMap"]
    return {str(mapping(item.get("metadata")).get("name")): mapping(item.get("data")) for item in maps}


def check_pod(where: str, group: dict[str, Any], values: dict[str, Any], locked: Locked) -> list[Problem]:
    """Check a group's image, limits, ConfigMaps and output; `values` is the data of the file's ConfigMaps."""
    place = step(where, "template.spec.containers[0]")
    container = container_of(group)
    problems: list[Problem] = []
    image = container.get("image")
    if not isinstance(image, str):
        problems.append(Problem(where=step(place, "image"), what="missing; build one with cluster/Dockerfile."))
    else:
        problems += check_image(step(place, "image"), image, locked)
    for resource in ("cpu", "memory"):
        if resource not in mapping(mapping(container.get("resources")).get("limits")):
            what = f"{resource} is missing; Ray takes a pod's size from its limits."
            problems.append(Problem(where=step(place, "resources.limits"), what=what))
        elif resource == "cpu" and not cpus_of(group):
            limit = container["resources"]["limits"]["cpu"]
            what = f"cpu must be a number of CPUs, such as 7 or 7500m, got '{limit}'."
            problems.append(Problem(where=step(place, "resources.limits"), what=what))
    pod = mapping(mapping(group.get("template")).get("spec"))
    for kind in ("initContainers", "containers"):
        for index, pod_container in enumerate(map(mapping, sequence(pod.get(kind)))):
            problems += _check_config_maps(step(step(where, f"template.spec.{kind}"), index), pod_container, values)
    return problems + _check_output(place, environment_of(group, values), container)


def _check_config_maps(where: str, container: dict[str, Any], values: dict[str, Any]) -> list[Problem]:
    return [
        Problem(
            where=step(where, "envFrom"),
            what=f"no ConfigMap '{name}' in this file{nearest(name, values) or '; add it.'}",
        )
        for name in config_maps_of(container)
        if name not in values
    ]


def _check_output(where: str, environment: dict[Any, Any], container: dict[str, Any]) -> list[Problem]:
    output = str(environment.get("PAN_STUDY_OUTPUT", ""))
    mounts = [str(mapping(mount).get("mountPath")) for mount in sequence(container.get("volumeMounts"))]
    if is_placeholder(output) or output.startswith("s3://") or any(output.startswith(f"{mount}/") for mount in mounts):
        return []
    what = (
        f"PAN_STUDY_OUTPUT must be s3://BUCKET/.. or in a mounted volume, got '{output}'; otherwise "
        "results are lost with the pod."
    )
    return [Problem(where=step(where, "envFrom"), what=what)]


def check_head_data(where: str, head: dict[str, Any], values: dict[str, Any]) -> list[Problem]:
    """Check that the head's pod has the datasets, and lets its ConfigMaps name their folder."""
    place, container = step(where, "template.spec.containers[0]"), container_of(head)
    if any(name not in values for name in config_maps_of(container)):
        return []
    environment = environment_of(head, values)
    if DATA_ROOT not in environment:
        what = f"{DATA_ROOT} is missing, so a study would read data from `data`; set it to a folder of the head's pod."
        return [Problem(where=step(place, "envFrom"), what=what)]
    root = str(environment[DATA_ROOT] or "").rstrip("/")
    pod = mapping(mapping(head.get("template")).get("spec"))
    empty = {
        str(mapping(volume).get("name")) for volume in sequence(pod.get("volumes")) if "emptyDir" in mapping(volume)
    }
    mounts = [mapping(mount) for mount in sequence(container.get("volumeMounts"))]
    names = {
        str(mount.get("name"))
        for mount in mounts
        if f"{root}/".startswith(f"{str(mount.get('mountPath')).rstrip('/')}/")
    }
    fetchers = [mapping(fetcher) for fetcher in sequence(pod.get("initContainers"))]
    filled = {
        str(mapping(mount).get("name")) for fetcher in fetchers for mount in sequence(fetcher.get("volumeMounts"))
    }
    if not root or not names & empty or names & filled:
        return []
    what = f"no container copies the datasets to {root}, which is empty when the pod starts; see cluster/kuberay.yaml."
    return [Problem(where=step(where, "template.spec.initContainers"), what=what)]


def check_declared_workers(where: str, spec: dict[str, Any], values: dict[str, Any]) -> list[Problem]:
    """Check that PAN_STUDY_WORKERS in the head's environment declares all worker groups at their largest.

    Wrong numbers of a group and missing ConfigMaps are reported by other checks.

    Args:
        where: Path of the cluster's spec in the file.
        spec: The spec of a RayCluster.
        values: Data of the file's ConfigMaps by their names.
    """
    groups = [mapping(group) for group in sequence(spec.get("workerGroupSpecs"))]
    head = mapping(spec.get("headGroupSpec"))
    autoscaled = is_autoscaled(spec)
    known = all(name in values for name in config_maps_of(container_of(head)))
    if (
        not known
        or not groups
        or not all(pods_of(group, autoscaled=autoscaled) and _node(group).cpus for group in groups)
    ):
        return []
    place = step(where, "headGroupSpec.template.spec.containers[0].envFrom")
    wanted = " + ".join(_describe(group, pods_of(group, autoscaled=autoscaled)) for group in groups)
    environment = environment_of(head, values)
    if WORKERS not in environment:
        if not autoscaled:  # all workers start with the cluster
            return []
        what = f"{WORKERS} is missing; a study plans with it before workers start; add {WORKERS}: {wanted}"
        return [Problem(where=place, what=what)]
    declared = environment[WORKERS]
    if declared is None:
        return []
    try:
        same = Counter(read_workers(str(declared))) == Counter(
            node for group in groups for node in _nodes(group, pods_of(group, autoscaled=autoscaled))
        )
    except UserError as error:
        return [Problem(where=place, what=str(error))]
    size = "maxReplicas" if autoscaled else "replicas"
    what = f"{WORKERS} must match workerGroupSpecs at {size}, '{wanted}', got '{declared}'; change one of the two."
    return [] if same else [Problem(where=place, what=what)]


def is_autoscaled(spec: dict[str, Any]) -> bool:
    """Return whether a cluster starts and removes workers on demand. Otherwise it has `replicas` of each group."""
    return spec.get("enableInTreeAutoscaling") is True


def pods_of(group: dict[str, Any], *, autoscaled: bool) -> int:
    """Return the largest number of pods of a group."""
    most = integer(group.get("maxReplicas"))
    num_pods = most if autoscaled else integer(group.get("replicas"), most)
    return max(0, num_pods) * max(1, integer(group.get("numOfHosts"), 1))


def _node(group: dict[str, Any]) -> Node:
    """Return the CPUs and GPUs of one pod: its limits, unless rayStartParams override them."""
    params = mapping(group.get("rayStartParams"))
    cpus, gpus = params.get("num-cpus", cpus_of(group)), params.get("num-gpus", gpus_of(group))
    return Node(cpus=_number(cpus), gpus=_number(gpus))


def _number(value: object) -> float:
    return float(str(value)) if str(value).isdigit() else 0.0


def _nodes(group: dict[str, Any], num_pods: int) -> list[Node]:
    return [_node(group)] * num_pods


def _describe(group: dict[str, Any], num_pods: int) -> str:
    node = _node(group)
    return f"{num_pods} x CPU={node.cpus:g}{f',GPU={node.gpus:g}' if node.gpus else ''}"
