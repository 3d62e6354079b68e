"""Checks of a KubeRay file: RayCluster and RayJob, versions, GPUs, numbers of pods and the output."""

import re
from pathlib import Path
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.pods import GPU, check_declared_workers, check_pod, config_values, container_of, gpus_of
from cluster.check.problem import Problem, integer, mapping, nearest, sequence, step
from cluster.check.schemas import check_keys
from cluster.check.versions import CHECKOUT, Locked, check_image

KINDS = ("RayCluster", "RayJob")


def is_kuberay(documents: list[Any]) -> bool:
    """Return whether a file is for Kubernetes, whose documents have a kind and an apiVersion."""
    return any("kind" in mapping(document) or "apiVersion" in mapping(document) for document in documents)


def check_kuberay(documents: list[Any], locked: Locked, checkout: Path = CHECKOUT) -> list[Problem]:
    """Check every RayCluster and RayJob of a file, and that all pods use the same image."""
    clusters = [mapping(document) for document in documents if mapping(document).get("kind") in KINDS]
    others = [str(mapping(document).get("kind")) for document in documents if mapping(document) not in clusters]
    problems = [
        Problem(where="kind", what=f"unknown kind '{kind}'{nearest(kind, KINDS)}")
        for kind in others
        if nearest(kind, KINDS)
    ]
    if not clusters and not problems:
        problems = [
            Problem(where="kind", what=f"the file must contain a RayCluster or a RayJob, got {', '.join(others)}.")
        ]
    values = config_values(documents)
    for document in clusters:
        problems += _check_document(document, values, locked)
    images = sorted({image for document in clusters for _, image in _images(document) if not is_placeholder(image)})
    if len(images) > 1:
        problems.append(Problem(where="image", what=f"all pods must use the same image, got {' and '.join(images)}."))
    return problems + (_check_dockerfile(checkout, locked) if clusters else [])


def worker_groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the worker groups of a RayCluster, or of the cluster of a RayJob."""
    return [mapping(group) for group in sequence(_cluster_spec(document).get("workerGroupSpecs"))]


def _cluster_spec(document: dict[str, Any]) -> dict[str, Any]:
    spec = mapping(document.get("spec"))
    return mapping(spec.get("rayClusterSpec")) if document.get("kind") == "RayJob" else spec


def _check_document(document: dict[str, Any], values: dict[str, Any], locked: Locked) -> list[Problem]:
    kind = str(document["kind"])
    spec, where = mapping(document.get("spec")), f"{kind}.spec"
    problems = check_keys(where, spec, kind, newer=True)
    if document.get("apiVersion") != "ray.io/v1":
        what = f"must be ray.io/v1, got '{document.get('apiVersion', '')}'."
        problems.append(Problem(where=f"{kind}.apiVersion", what=what))
    if kind == "RayJob":
        problems += _check_job(where, spec)
        if "clusterSelector" in spec:
            return problems
        where = step(where, "rayClusterSpec")
        problems += check_keys(where, mapping(spec.get("rayClusterSpec")), "RayCluster", newer=True)
    return problems + _check_cluster(where, _cluster_spec(document), values, locked)


def _check_job(where: str, spec: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    entrypoint = str(spec.get("entrypoint", ""))
    if not re.search(r"(^|[\s/])study/run\.py\b", entrypoint):
        what = f"must run study/run.py, got '{entrypoint}'; see cluster/kuberay.yaml."
        problems.append(Problem(where=step(where, "entrypoint"), what=what))
    elif integer(spec.get("backoffLimit")) and "--resume" not in entrypoint:
        what = "must contain --resume, because backoffLimit runs it again and an existing study is an error; add it."
        problems.append(Problem(where=step(where, "entrypoint"), what=what))
    if spec.get("shutdownAfterJobFinishes") is not True and "clusterSelector" not in spec:
        what = (
            f"must be true, got {spec.get('shutdownAfterJobFinishes', 'nothing')}; otherwise the cluster "
            "keeps running and costs money."
        )
        problems.append(Problem(where=step(where, "shutdownAfterJobFinishes"), what=what))
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
    for index, group in enumerate(map(mapping, groups)):
        place = step(step(where, "workerGroupSpecs"), index)
        problems += [*check_keys(place, group, "worker_group", newer=True), *_check_group(place, group)]
        problems += check_pod(place, group, values, locked)
    return problems


def _check_autoscaling(where: str, spec: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if spec.get("enableInTreeAutoscaling") is not True:
        what = "must be true, or workers are neither started nor removed."
        problems.append(Problem(where=step(where, "enableInTreeAutoscaling"), what=what))
    idle = mapping(spec.get("autoscalerOptions")).get("idleTimeoutSeconds")
    if not isinstance(idle, int) or not 60 <= idle <= 3600:
        what = (
            f"must be between 60 and 3600, the seconds after which an idle worker is removed, got {idle or 'nothing'}."
        )
        problems.append(Problem(where=step(where, "autoscalerOptions.idleTimeoutSeconds"), what=what))
    return problems


def _check_group(where: str, group: dict[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    least, most = integer(group.get("minReplicas")), group.get("maxReplicas")
    if not isinstance(most, int) or most < 1:
        what = f"must be at least 1, got {most if most is not None else 'nothing'}; it limits the cost."
        problems.append(Problem(where=step(where, "maxReplicas"), what=what))
    elif not least <= integer(group.get("replicas"), least) <= most:
        what = f"must be between minReplicas, {least}, and maxReplicas, {most}, got {group.get('replicas', least)}."
        problems.append(Problem(where=step(where, "replicas"), what=what))
    resources = mapping(container_of(group).get("resources"))
    place = step(where, "template.spec.containers[0].resources")
    limits, requests = mapping(resources.get("limits")), mapping(resources.get("requests"))
    if gpus_of(group) < 1:
        what = f"{GPU} must be at least 1, or no trial has a GPU, got {limits.get(GPU, 'nothing')}; add it."
        problems.append(Problem(where=step(place, "limits"), what=what))
    if GPU in requests and requests[GPU] != limits.get(GPU):
        what = f"{GPU} must equal its limit, {limits.get(GPU, 'nothing')}, got {requests[GPU]}; change one of the two."
        problems.append(Problem(where=step(place, "requests"), what=what))
    return problems


def _images(document: dict[str, Any]) -> list[tuple[str, str]]:
    groups = [mapping(_cluster_spec(document).get("headGroupSpec")), *worker_groups(document)]
    return [("image", str(container_of(group)["image"])) for group in groups if "image" in container_of(group)]


def _check_dockerfile(checkout: Path, locked: Locked) -> list[Problem]:
    """Check that the base image of cluster/Dockerfile has the locked version of Ray."""
    text = (checkout / "cluster" / "Dockerfile").read_text(encoding="utf-8")
    base = re.search(r"^FROM (\S+)", text, re.MULTILINE)
    return check_image("cluster/Dockerfile", base[1] if base else "", locked)
