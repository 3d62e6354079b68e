"""Checks of a cluster on Google Cloud: project, zone, machines, spot options, disks, network and permissions."""

import re
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.node_types import (
    TYPES,
    Machine,
    check_capability,
    check_resources,
    find_accelerator,
    find_machine,
    head_name,
    node_types,
)
from cluster.check.problem import Problem, integer, mapping, nearest, sequence, step
from cluster.check.schemas import check_keys
from cluster.check.versions import Locked

IMAGE = re.compile(r"projects/[a-z0-9.:-]+/global/images/(family/)?[a-z0-9-]+")

LEAST_DISK_GB = 100
LEAST_DRIVER = {13: 580}
"""The oldest NVIDIA driver that supports a major version of CUDA (CUDA 13's release notes)."""


def check_gcp(config: dict[str, Any], locked: Locked) -> list[Problem]:
    """Check the parts of a Google Cloud cluster file that Ray passes to Google without validation."""
    problems = _check_place(config)
    zone = str(mapping(config.get("provider")).get("availability_zone", ""))
    for name, kind in node_types(config).items():
        head = name == head_name(config)
        node_config = mapping(kind.get("node_config"))
        where = step(step(TYPES, name), "node_config")
        problems += [
            *check_keys(where, node_config, "gcp_instance"),
            *_check_machine(step(TYPES, name), kind, locked, head=head),
            *_check_scheduling(where, kind, head=head),
            *_check_disks(where, node_config, zone, locked),
            *_check_reach(where, node_config),
            *_check_rights(where, node_config),
        ]
    return problems


def _check_place(config: dict[str, Any]) -> list[Problem]:
    provider = mapping(config.get("provider"))
    region, zone = str(provider.get("region", "")), str(provider.get("availability_zone", ""))
    problems: list[Problem] = []
    if not provider.get("project_id"):
        problems.append(Problem(where="provider.project_id", what="missing; add your project's id."))
    if not re.fullmatch(r"[a-z]+-[a-z]+\d+", region):
        what = (
            f"must be a region such as us-central1, got '{region}'; a zone such as us-central1-a belongs in "
            "availability_zone."
        )
        problems.append(Problem(where="provider.region", what=what))
    elif not re.fullmatch(rf"{region}-[a-z]", zone):
        what = f"must be a zone of {region}, such as {region}-a, got '{zone}'."
        problems.append(Problem(where="provider.availability_zone", what=what))
    return problems


def _check_machine(where: str, kind: dict[str, Any], locked: Locked, *, head: bool) -> list[Problem]:
    node_config = mapping(kind.get("node_config"))
    place = step(step(where, "node_config"), "machineType")
    name = node_config.get("machineType")
    if not isinstance(name, str):
        return [Problem(where=place, what=f"must name a machine type, such as g2-standard-8, got '{name or ''}'.")]
    name = name.rsplit("/", 1)[-1]
    machine, problems = find_machine(place, name, "gcp")
    if machine is None:
        return problems
    added, problems = _with_accelerators(step(where, "node_config"), node_config, name, machine)
    resources = mapping(kind.get("resources"))
    if integer(resources.get("GPU")) and not added.gpus:
        what = f"resources declare a GPU, but '{name}' has none; choose g2 or a2, or n1 with guestAccelerators."
        return [*problems, Problem(where=place, what=what)]
    return [
        *problems,
        *check_resources(where, resources, name, added, head=head),
        *check_capability(place, name, added, locked),
    ]


def _with_accelerators(
    where: str, node_config: dict[str, Any], name: str, machine: Machine
) -> tuple[Machine, list[Problem]]:
    """Return the machine with its added GPUs, which only the family n1 accepts."""
    accelerators = [mapping(part) for part in sequence(node_config.get("guestAccelerators"))]
    place = step(where, "guestAccelerators")
    if not accelerators:
        return machine, []
    if not name.startswith("n1-"):
        return machine, [
            Problem(
                where=place, what=f"only n1 machines accept added GPUs, got '{name}'; remove the lines or choose n1."
            )
        ]
    kind = str(accelerators[0].get("acceleratorType", "")).rsplit("/", 1)[-1]
    gpu, problems = find_accelerator(place, kind)
    count = integer(accelerators[0].get("acceleratorCount"))
    if gpu is None:
        return machine, problems
    if count < 1:
        what = f"acceleratorCount must be at least 1, got {accelerators[0].get('acceleratorCount')}."
        return machine, [Problem(where=place, what=what)]
    return Machine(cpus=machine.cpus, gpus=count, gpu_gb=gpu.gpu_gb, capability=gpu.capability), []


def _check_scheduling(where: str, kind: dict[str, Any], *, head: bool) -> list[Problem]:
    place = step(where, "scheduling")
    given = mapping(kind.get("node_config")).get("scheduling")
    parts = [mapping(part) for part in given] if isinstance(given, list) else [mapping(given)]
    scheduling = {key: value for part in parts for key, value in part.items()}
    model = scheduling.get("provisioningModel")
    spot = model == "SPOT" or scheduling.get("preemptible") is True
    if head:
        what = "the head must not be a spot machine: losing it ends the study; remove these lines."
        return [Problem(where=place, what=what)] if spot else []
    problems: list[Problem] = []
    if model not in (None, "SPOT", "STANDARD") or (model is None and "preemptible" not in scheduling):
        hint = nearest(str(model), ["SPOT", "STANDARD"]) or "; choose one."
        what = f"must be SPOT, or STANDARD at more than twice the price, got '{model or ''}'{hint}"
        problems.append(Problem(where=step(place, "provisioningModel"), what=what))
    if integer(mapping(kind.get("resources")).get("GPU")) and scheduling.get("onHostMaintenance") != "TERMINATE":
        what = (
            "must be TERMINATE, because machines with a GPU cannot migrate, got "
            f"'{scheduling.get('onHostMaintenance', '')}'."
        )
        problems.append(Problem(where=step(place, "onHostMaintenance"), what=what))
    if scheduling.get("instanceTerminationAction", "DELETE") != "DELETE":
        what = f"must be DELETE, got '{scheduling['instanceTerminationAction']}': stopped machines still cost money."
        problems.append(Problem(where=step(place, "instanceTerminationAction"), what=what))
    return problems


def _check_disks(where: str, node_config: dict[str, Any], zone: str, locked: Locked) -> list[Problem]:
    place = step(where, "disks")
    disks = [mapping(disk) for disk in sequence(node_config.get("disks"))]
    boot = next((index for index, disk in enumerate(disks) if disk.get("boot") is True), None)
    if boot is None:
        return [Problem(where=place, what="no disk has boot: true; add one with image and size.")]
    place, params = step(place, boot), mapping(disks[boot].get("initializeParams"))
    problems: list[Problem] = []
    if disks[boot].get("autoDelete") is not True:
        what = "must be true; otherwise disks remain, and cost money, after their machines are terminated."
        problems.append(Problem(where=step(place, "autoDelete"), what=what))
    place = step(place, "initializeParams")
    size = int(str(params.get("diskSizeGb", 0))) if str(params.get("diskSizeGb", 0)).isdigit() else 0
    if size < LEAST_DISK_GB:
        what = f"must be at least {LEAST_DISK_GB} GB for image, .venv and data, got {params.get('diskSizeGb')}."
        problems.append(Problem(where=step(place, "diskSizeGb"), what=what))
    kind = str(params.get("diskType", ""))
    if zone and f"/{zone}/" not in f"/{kind}":
        what = f"must be a disk type of the cluster's zone, such as zones/{zone}/diskTypes/pd-balanced, got '{kind}'."
        problems.append(Problem(where=step(place, "diskType"), what=what))
    return problems + _check_image(step(place, "sourceImage"), str(params.get("sourceImage", "")), locked)


def _check_image(where: str, image: str, locked: Locked) -> list[Problem]:
    if is_placeholder(image):
        return []
    if not IMAGE.fullmatch(image):
        return [Problem(where=where, what=f"must be projects/PROJECT/global/images/family/FAMILY, got '{image}'.")]
    driver, least = re.search(r"nvidia-(\d+)", image), LEAST_DRIVER.get(locked.cuda, 0)
    if driver and int(driver[1]) < least:
        what = (
            f"torch in requirements.lock uses CUDA {locked.cuda}, which needs NVIDIA driver {least} or newer, "
            f"got {driver[1]}"
        )
        return [Problem(where=where, what=f"{what}; choose a newer image.")]
    return []


def _check_reach(where: str, node_config: dict[str, Any]) -> list[Problem]:
    place = step(where, "networkInterfaces")
    interfaces = [mapping(part) for part in sequence(node_config.get("networkInterfaces"))]
    names = [str(part.get("subnetwork") or part.get("network") or "") for part in interfaces]
    if not any(names) or any(name.rsplit("/", 1)[-1] == "default" for name in names):
        got = ", ".join(f"'{name}'" for name in names) or "none"
        what = (
            f"must not be the default network, which is open to ssh from everywhere, got {got}; create one as "
            "in cluster/README.md."
        )
        return [Problem(where=place, what=what)]
    return []


def _check_rights(where: str, node_config: dict[str, Any]) -> list[Problem]:
    accounts = [mapping(part) for part in sequence(node_config.get("serviceAccounts"))]
    if any(account.get("email") for account in accounts):
        return []
    what = "missing, so the machine cannot read the bucket; name the service account created in cluster/README.md."
    return [Problem(where=step(where, "serviceAccounts"), what=what)]
