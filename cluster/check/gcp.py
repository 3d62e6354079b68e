"""Checks of a cluster on Google Cloud: project, zone, machines, spot options, disks, network and permissions."""

import re
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.node_types import (
    Machine,
    NodeType,
    check_account,
    check_machine,
    check_same_image,
    check_stopped,
    find_accelerator,
    find_machine,
    node_types,
)
from cluster.check.problem import Problem, commands_of, integer, mapping, nearest, sequence, step
from cluster.check.schemas import check_keys
from cluster.check.versions import Locked

IMAGE = re.compile(r"projects/[a-z0-9.:-]+/global/images/(family/)?[a-z0-9-]+")

LEAST_DISK_GB = 100
LEAST_DRIVER = {13: 580}
"""The oldest NVIDIA driver that supports a major version of CUDA (CUDA 13's release notes)."""


def check_gcp(config: dict[str, Any], locked: Locked) -> list[Problem]:
    """Check the parts of a Google Cloud cluster file that Ray passes to Google without validation."""
    problems = [*_check_place(config), *_check_client(config), *check_stopped(config, default=False)]
    problems += check_same_image(_images(config))
    zone = str(mapping(config.get("provider")).get("availability_zone", ""))
    for kind in node_types(config):
        where, node_config = kind.place, kind.node_config
        problems += [
            *check_keys(where, node_config, "gcp_instance"),
            *_check_machine(kind, locked),
            *_check_scheduling(kind),
            *_check_disks(where, node_config, zone, locked),
            *_check_reach(kind, mapping(config.get("provider"))),
            *_check_rights(kind),
            *_check_driver(config, kind),
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


def _check_machine(kind: NodeType, locked: Locked) -> list[Problem]:
    place = step(kind.place, "machineType")
    name = kind.node_config.get("machineType")
    if not isinstance(name, str):
        return [Problem(where=place, what=f"must name a machine type, such as g2-standard-8, got '{name or ''}'.")]
    name = name.rsplit("/", 1)[-1]
    machine, problems = find_machine(place, name, "gcp")
    if machine is None:
        return problems
    added, problems = _with_accelerators(kind.place, kind.node_config, name, machine)
    hint = "choose g2 or a2, or n1 with guestAccelerators."
    return [*problems, *check_machine(kind, place, name, added, locked, hint)]


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


def _check_scheduling(kind: NodeType) -> list[Problem]:
    place = step(kind.place, "scheduling")
    given = kind.node_config.get("scheduling")
    parts = [mapping(part) for part in given] if isinstance(given, list) else [mapping(given)]
    scheduling = {key: value for part in parts for key, value in part.items()}
    model = scheduling.get("provisioningModel")
    spot = model == "SPOT" or scheduling.get("preemptible") is True
    if kind.head:
        what = "the head must not be a spot machine: losing it ends the study; remove these lines."
        return [Problem(where=place, what=what)] if spot else []
    problems: list[Problem] = []
    if model not in (None, "SPOT", "STANDARD") or (model is None and "preemptible" not in scheduling):
        hint = nearest(str(model), ["SPOT", "STANDARD"]) or "; choose one."
        what = f"must be SPOT, or STANDARD at more than twice the price, got '{model or ''}'{hint}"
        problems.append(Problem(where=step(place, "provisioningModel"), what=what))
    if integer(kind.resources.get("GPU")) and scheduling.get("onHostMaintenance") != "TERMINATE":
        what = (
            "must be TERMINATE, because machines with a GPU cannot migrate, got "
            f"'{scheduling.get('onHostMaintenance', '')}'."
        )
        problems.append(Problem(where=step(place, "onHostMaintenance"), what=what))
    if scheduling.get("instanceTerminationAction", "STOP" if model == "SPOT" else "DELETE") != "DELETE":
        got = scheduling.get("instanceTerminationAction", "")
        what = f"must be DELETE, got '{got}': stopped machines still cost money."
        problems.append(Problem(where=step(place, "instanceTerminationAction"), what=what))
    if spot and scheduling.get("automaticRestart") is True:
        what = "must be false, got True: Google does not restart spot machines, and Ray replaces them."
        problems.append(Problem(where=step(place, "automaticRestart"), what=what))
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


def _image(kind: NodeType) -> str:
    disks = [mapping(disk) for disk in sequence(kind.node_config.get("disks"))]
    boot = next((disk for disk in disks if disk.get("boot") is True), {})
    return str(mapping(boot.get("initializeParams")).get("sourceImage", ""))


def _images(config: dict[str, Any]) -> list[tuple[str, str]]:
    images = [(step(kind.place, "disks"), _image(kind)) for kind in node_types(config)]
    return [(where, image) for where, image in images if IMAGE.fullmatch(image)]


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


def _check_reach(kind: NodeType, provider: dict[str, Any]) -> list[Problem]:
    place = step(kind.place, "networkInterfaces")
    interfaces = [mapping(part) for part in sequence(kind.node_config.get("networkInterfaces"))]
    names = [str(part.get("subnetwork") or part.get("network") or "") for part in interfaces]
    if not any(names) or any(name.rsplit("/", 1)[-1] == "default" for name in names):
        got = ", ".join(f"'{name}'" for name in names) or "none"
        what = (
            f"must not be the default network, which is open to ssh from everywhere, got {got}; create one as "
            "in cluster/README.md."
        )
        return [Problem(where=place, what=what)]
    inside = provider.get("use_internal_ips") is True and provider.get("use_external_head_ip") is not True
    if kind.head and not inside and not any(sequence(part.get("accessConfigs")) for part in interfaces):
        what = "the head has no external address for ssh; add accessConfigs, or provider.use_internal_ips: true."
        return [Problem(where=place, what=what)]
    return []


def _check_rights(kind: NodeType) -> list[Problem]:
    where = step(kind.place, "serviceAccounts")
    accounts = [mapping(part) for part in sequence(kind.node_config.get("serviceAccounts"))]
    account = next((account for account in accounts if account.get("email")), {})
    if problems := check_account(kind, where, str(account.get("email", "")), "service account"):
        return problems
    scopes = [str(scope).rsplit("/", 1)[-1] for scope in sequence(account.get("scopes"))]
    wanted = ("cloud-platform", "compute") if kind.head else ("cloud-platform", "devstorage")
    if any(scope.startswith(wanted) for scope in scopes):
        return []
    got = ", ".join(scopes) or "none"
    what = f"scopes must contain https://www.googleapis.com/auth/cloud-platform, got {got}; they limit the account."
    return [Problem(where=where, what=what)]


def _check_driver(config: dict[str, Any], kind: NodeType) -> list[Problem]:
    """Check that workers on Google's Deep Learning images install the driver, and wait for it before Ray starts."""
    if kind.head or not integer(kind.resources.get("GPU")) or "deeplearning-platform" not in _image(kind):
        return []
    items = [mapping(item) for item in sequence(mapping(kind.node_config.get("metadata")).get("items"))]
    installs = any(item.get("key") == "install-nvidia-driver" and str(item.get("value")) == "True" for item in items)
    problems: list[Problem] = []
    if not installs:
        what = 'must contain {key: install-nvidia-driver, value: "True"}, or the machine has no driver for its GPU.'
        problems.append(Problem(where=step(kind.place, "metadata"), what=what))
    own = mapping({"worker_setup_commands": kind.values.get("worker_setup_commands")})
    waits = [*commands_of(config, ("setup_commands", "worker_setup_commands")), *commands_of(own, tuple(own))]
    if not any("nvidia-smi" in command for _, command in waits):
        what = "no command waits for the GPU's driver, which the first start installs; see cluster/gcp.yaml."
        problems.append(Problem(where="worker_setup_commands", what=what))
    return problems


def _check_client(config: dict[str, Any]) -> list[Problem]:
    commands = commands_of(config, ("setup_commands", "head_setup_commands"))
    if "head_setup_commands" not in config or any("google-api-python-client" in command for _, command in commands):
        return []
    what = (
        "no command installs google-api-python-client, without which the head starts no workers; see cluster/gcp.yaml."
    )
    return [Problem(where="head_setup_commands", what=what)]
