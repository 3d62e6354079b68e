"""Checks of a KubeRay file: RayCluster and RayJob, versions, GPUs, numbers of pods and the output."""

import re
from pathlib import Path
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.pods import (
    GPU,
    check_declared_workers,
    check_head_data,
    check_pod,
    config_values,
    container_of,
    gpus_of,
    is_autoscaled,
)
from cluster.check.problem import Problem, integer, mapping, nearest, sequence, step
from cluster.check.ray_job import check_job
from cluster.check.schemas import check_keys
from cluster.check.versions import CHECKOUT, Locked, check_image

KINDS = ("RayCluster", "RayJob", "RayCronJob")
"""KubeRay's resources that can run a study."""

SERVICE = "RayService"
"""KubeRay's resource that serves a model with Ray Serve."""

KEYS_OF_CRON_JOB = ("schedule", "suspend", "jobTemplate")

KUBERNETES = ("ConfigMap", "None")
"""Kinds besides KubeRay's that are read here, and an empty document."""


def is_kuberay(documents: list[Any]) -> bool:
    """Return whether a file is for Kubernetes, whose documents have a kind and an apiVersion."""
    return any("kind" in mapping(document) or "apiVersion" in mapping(document) for document in documents)


def check_kuberay(documents: list[Any], locked: Locked, checkout: Path = CHECKOUT) -> list[Problem]:
    """Check every RayCluster and RayJob of a file, and that all pods use the same image."""
    clusters = [mapping(document) for document in documents if mapping(document).get("kind") in KINDS]
    others = [str(mapping(document).get("kind")) for document in documents if mapping(document) not in clusters]
    others = [kind for kind in others if kind not in KUBERNETES]
    problems = [
        Problem(where="kind", what=f"unknown kind '{kind}'{nearest(kind, KINDS)}")
        for kind in others
        if nearest(kind, KINDS) and kind != SERVICE
    ]
    if SERVICE in others:
        what = "a RayService serves models and cannot run a study; write a RayJob or a RayCluster."
        problems.append(Problem(where="kind", what=what))
    if not clusters and not problems:
        kinds = ", ".join(str(mapping(document).get("kind")) for document in documents if document)
        problems = [Problem(where="kind", what=f"the file must contain a RayCluster or a RayJob, got {kinds}.")]
    values = config_values(documents)
    for document in clusters:
        problems += _check_document(document, values, locked)
    images = sorted({image for document in clusters for image in _images(document) if not is_placeholder(image)})
    if len(images) > 1:
        problems.append(Problem(where="image", what=f"all pods must use the same image, got {' and '.join(images)}."))
    return problems + (_check_dockerfile(checkout, locked) if clusters else [])


def worker_groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the worker groups of a RayCluster, or of the cluster of a RayJob or RayCronJob."""
    return [mapping(group) for group in sequence(cluster_spec(document).get("workerGroupSpecs"))]


def cluster_spec(document: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a RayCluster, or of the cluster of a RayJob or RayCronJob."""
    spec = mapping(document.get("spec"))
    if document.get("kind") == "RayCronJob":
        spec = mapping(spec.get("jobTemplate"))
    return spec if document.get("kind") == "RayCluster" else mapping(spec.get("rayClusterSpec"))


def _check_document(document: dict[str, Any], values: dict[str, Any], locked: Locked) -> list[Problem]:
    kind = str(document["kind"])
    spec, where = mapping(document.get("spec")), f"{kind}.spec"
    problems: list[Problem] = []
    if kind == "RayCronJob":
        problems += _check_schedule(where, spec)
        spec, where = mapping(spec.get("jobTemplate")), step(where, "jobTemplate")
    problems += check_keys(where, spec, "RayCluster" if kind == "RayCluster" else "RayJob", newer=True)
    if document.get("apiVersion") != "ray.io/v1":
        what = f"must be ray.io/v1, got '{document.get('apiVersion', '')}'."
        problems.append(Problem(where=f"{kind}.apiVersion", what=what))
    if kind != "RayCluster":
        problems += check_job(where, spec)
        if "clusterSelector" in spec:
            return problems
        where = step(where, "rayClusterSpec")
        problems += check_keys(where, mapping(spec.get("rayClusterSpec")), "RayCluster", newer=True)
    return problems + _check_cluster(where, cluster_spec(document), values, locked)


def _check_schedule(where: str, spec: dict[str, Any]) -> list[Problem]:
    problems = [
        Problem(where=step(where, key), what=f"unknown key{nearest(key, KEYS_OF_CRON_JOB)}")
        for key in spec
        if key not in KEYS_OF_CRON_JOB and nearest(key, KEYS_OF_CRON_JOB)
    ]
    schedule = spec.get("schedule")
    if not isinstance(schedule, str) or not re.fullmatch(r"@\w+( \w+)?|(\S+\s+){4}\S+", schedule.strip()):
        what = f"must be five fields as of cron, such as '0 2 * * *', got '{schedule or ''}'."
        problems.append(Problem(where=step(where, "schedule"), what=what))
    return problems


def _check_cluster(where: str, spec: dict[str, Any], values: dict[str, Any], locked: Locked) -> list[Problem]:
    problems: list[Problem] = []
    if str(spec.get("rayVersion")) != locked.ray:
        what = f"must be '{locked.ray}', as in requirements.lock, got '{spec.get('rayVersion', '')}'."
        problems.append(Problem(where=step(where, "rayVersion"), what=what))
    problems += [*_check_autoscaling(where, spec), *check_declared_workers(where, spec, values)]
    head = mapping(spec.get("headGroupSpec"))
    if head.get("serviceType", "ClusterIP") != "ClusterIP":
        what = (
            f"must be ClusterIP, got '{head['serviceType']}', which would expose the dashboard; use kubectl "
            "port-forward."
        )
        problems.append(Problem(where=step(where, "headGroupSpec.serviceType"), what=what))
    if str(mapping(head.get("rayStartParams")).get("num-cpus")) != "0":
        what = 'num-cpus must be "0", so that no trial runs next to the driver; add it.'
        problems.append(Problem(where=step(where, "headGroupSpec.rayStartParams"), what=what))
    groups = sequence(spec.get("workerGroupSpecs"))
    if not groups:
        what = "missing, so no trial can run; add a group, as in cluster/kuberay.yaml."
        problems.append(Problem(where=step(where, "workerGroupSpecs"), what=what))
    problems += check_pod(step(where, "headGroupSpec"), head, values, locked)
    problems += check_head_data(step(where, "headGroupSpec"), head, values)
    for index, group in enumerate(map(mapping, groups)):
        place = step(step(where, "workerGroupSpecs"), index)
        problems += [
            *check_keys(place, group, "worker_group", newer=True),
            *_check_group(place, group, autoscaled=is_autoscaled(spec)),
        ]
        problems += check_pod(place, group, values, locked)
    return problems


def _check_autoscaling(where: str, spec: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if not is_autoscaled(spec):
        if any(integer(mapping(group).get("replicas")) for group in sequence(spec.get("workerGroupSpecs"))):
            return []
        what = "must be true, or workers are neither started nor removed. A fixed number of workers needs replicas."
        return [Problem(where=step(where, "enableInTreeAutoscaling"), what=what)]
    idle = mapping(spec.get("autoscalerOptions")).get("idleTimeoutSeconds")
    if not isinstance(idle, int) or not 60 <= idle <= 3600:
        what = (
            f"must be between 60 and 3600, the seconds after which an idle worker is removed, got {idle or 'nothing'}."
        )
        problems.append(Problem(where=step(where, "autoscalerOptions.idleTimeoutSeconds"), what=what))
    return problems


def _check_group(where: str, group: dict[str, Any], *, autoscaled: bool) -> list[Problem]:
    problems: list[Problem] = []
    least, most = integer(group.get("minReplicas")), group.get("maxReplicas")
    replicas = integer(group.get("replicas"), least)
    if most is None and not autoscaled:
        most = max(replicas, 1)  # the operator's default is a large number
    if not isinstance(most, int) or most < 1:
        what = f"must be at least 1, got {most if most is not None else 'nothing'}; it limits the cost."
        problems.append(Problem(where=step(where, "maxReplicas"), what=what))
    elif not least <= replicas <= most:
        what = f"must be between minReplicas, {least}, and maxReplicas, {most}, got {replicas}."
        problems.append(Problem(where=step(where, "replicas"), what=what))
    resources = mapping(container_of(group).get("resources"))
    place = step(where, "template.spec.containers[0].resources")
    limits, requests = mapping(resources.get("limits")), mapping(resources.get("requests"))
    for key in limits:
        if key != GPU and nearest(key, [GPU]):
            problems.append(Problem(where=step(place, "limits"), what=f"unknown resource '{key}'{nearest(key, [GPU])}"))
    declares = GPU in limits or requests.get(GPU, 0) not in (0, "0")
    if declares and gpus_of(group) < 1 and limits.get(GPU) not in (0, "0"):
        what = f"{GPU} must be at least 1, or no trial has a GPU, got {limits.get(GPU, 'nothing')}; add it."
        problems.append(Problem(where=step(place, "limits"), what=what))
    elif GPU in requests and requests[GPU] != limits.get(GPU, 0):
        what = f"{GPU} must equal its limit, {limits.get(GPU, 'nothing')}, got {requests[GPU]}; change one of the two."
        problems.append(Problem(where=step(place, "requests"), what=what))
    return problems


def _images(document: dict[str, Any]) -> list[str]:
    groups = [mapping(cluster_spec(document).get("headGroupSpec")), *worker_groups(document)]
    return [str(container_of(group)["image"]) for group in groups if "image" in container_of(group)]


def _check_dockerfile(checkout: Path, locked: Locked) -> list[Problem]:
    """Check that the base image of cluster/Dockerfile has the locked version of Ray."""
    text = (checkout / "cluster" / "Dockerfile").read_text(encoding="utf-8")
    base = re.search(r"^FROM (\S+)", text, re.MULTILINE)
    return check_image("cluster/Dockerfile", base[1] if base else "", locked)
