"""Checks of a cluster on AWS: region, image, instance types, spot options, disks, network access and permissions."""

import re
from pathlib import Path
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.node_types import (
    NodeType,
    check_account,
    check_machine,
    check_same_image,
    check_stopped,
    find_machine,
    node_types,
)
from cluster.check.problem import Problem, integer, mapping, nearest, sequence, step
from cluster.check.schemas import check_request, instance_types, regions
from cluster.check.versions import Locked

IMAGE = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})|resolve:ssm:/\S+")
"""An image's id, or a Systems Manager parameter that EC2 resolves to one."""

GROUP = re.compile(r"sg-([0-9a-f]{8}|[0-9a-f]{17})")

ROOT_DEVICE = "/dev/sda1"
"""The root disk of Ubuntu's images. Another name would add a second disk and leave the root as small as the image."""

LEAST_DISK_GB = 100
"""The Deep Learning image takes about 60 GB, .venv 7, the three datasets 30."""

POLICY = Path(__file__).parents[1] / "aws" / "head.json"
"""What the head may do with machines."""

ANY_ADDRESS = ("0.0.0.0/0", "::/0")


def check_aws(config: dict[str, Any], locked: Locked) -> list[Problem]:
    """Check the parts of an AWS cluster file that Ray passes to AWS without validation."""
    problems = [*_check_region(config), *_check_login(config), *_check_ray_group(config)]
    problems += [*_check_name(config), *check_stopped(config, default=True), *check_same_image(_images(config))]
    for kind in node_types(config):
        where, node_config = kind.place, kind.node_config
        problems += [
            *check_request(where, node_config),
            *_check_image(where, node_config),
            *_check_machine(kind, locked),
            *_check_market(where, node_config, head=kind.head),
            *_check_disk(where, node_config),
            *_check_reach(where, node_config),
            *_check_rights(kind),
        ]
    return problems


def _check_name(config: dict[str, Any]) -> list[Problem]:
    """Check that the head may terminate the machines: the policy of cluster/README.md names the cluster."""
    profiles = [mapping(kind.node_config.get("IamInstanceProfile")) for kind in node_types(config) if kind.head]
    if not any(profile.get("Name") == "pan-study-head" for profile in profiles):
        return []
    named = re.findall(r'"ec2:ResourceTag/ray-cluster-name": "([^"]*)"', POLICY.read_text(encoding="utf-8"))
    name = config.get("cluster_name", "default")
    if not named or name in named:
        return []
    what = (
        f"must be {named[0]}, as in cluster/aws/head.json, got '{name}'; otherwise the head cannot terminate workers."
    )
    return [Problem(where="cluster_name", what=what)]


def _check_region(config: dict[str, Any]) -> list[Problem]:
    provider = mapping(config.get("provider"))
    region = provider.get("region")
    if is_placeholder(region):
        return []
    if region not in regions():
        hint = nearest(str(region), regions()) or "; name one, such as us-east-1."
        return [Problem(where="provider.region", what=f"AWS has no region '{region or ''}'{hint}")]
    zones = [zone.strip() for zone in str(provider.get("availability_zone", "")).split(",") if zone.strip()]
    return [
        Problem(
            where="provider.availability_zone",
            what=f"must name zones of {region}, such as {region}a, got '{zone}'; correct it or remove the key.",
        )
        for zone in zones
        if not re.fullmatch(rf"{region}[a-z]", zone)
    ]


def _check_login(config: dict[str, Any]) -> list[Problem]:
    """Check that a private key and the name of its key pair are given together. Without both, Ray creates them."""
    own = "ssh_private_key" in mapping(config.get("auth"))
    problems: list[Problem] = []
    for kind in node_types(config):
        node_config, where = kind.node_config, step(kind.place, "KeyName")
        if own and "KeyName" not in node_config and "UserData" not in node_config:
            problems.append(Problem(where=where, what="missing; name the key pair of auth.ssh_private_key."))
        if not own and "KeyName" in node_config:
            what = (
                f"requires auth.ssh_private_key, the private key of '{node_config['KeyName']}'; add it or remove both."
            )
            problems.append(Problem(where=where, what=what))
    return problems


def _images(config: dict[str, Any]) -> list[tuple[str, str]]:
    images = [(step(kind.place, "ImageId"), str(kind.node_config.get("ImageId"))) for kind in node_types(config)]
    return [(where, image) for where, image in images if IMAGE.fullmatch(image)]


def _check_image(where: str, node_config: dict[str, Any]) -> list[Problem]:
    image = node_config.get("ImageId")
    if is_placeholder(image) or IMAGE.fullmatch(str(image)):
        return []
    what = (
        f"must be ami- and 17 hexadecimal digits, got '{image or ''}'; cluster/config.yaml shows how to "
        "find the newest."
    )
    return [Problem(where=step(where, "ImageId"), what=what)]


def _check_machine(kind: NodeType, locked: Locked) -> list[Problem]:
    place = step(kind.place, "InstanceType")
    name = kind.node_config.get("InstanceType")
    if not isinstance(name, str):
        return [Problem(where=place, what=f"must name an instance type, such as g6.2xlarge, got '{name or ''}'.")]
    machine, problems = find_machine(place, name, "aws", instance_types())
    if machine is None:
        return problems
    return check_machine(kind, place, name, machine, locked, "choose g4dn, g5, g6, g6e, p4d or p5.")


def _check_market(where: str, node_config: dict[str, Any], *, head: bool) -> list[Problem]:
    place = step(where, "InstanceMarketOptions")
    market = mapping(node_config.get("InstanceMarketOptions"))
    if head:
        spot = market.get("MarketType") == "spot"
        what = (
            "the head must not be a spot machine, got MarketType 'spot': losing it ends the study; remove these lines."
        )
        return [Problem(where=place, what=what)] if spot else []
    if "MarketType" not in market:
        what = "missing; choose spot, or on-demand for machines that AWS never reclaims, at more than twice the price."
        return [Problem(where=step(place, "MarketType"), what=what)]
    options, place = mapping(market.get("SpotOptions")), step(place, "SpotOptions")
    problems: list[Problem] = []
    if options and market["MarketType"] != "spot":
        problems.append(Problem(where=place, what=f"only allowed with spot, got MarketType '{market['MarketType']}'."))
    if options.get("SpotInstanceType") == "persistent":
        what = "must be one-time, got 'persistent': AWS would start machines that Ray does not manage."
        problems.append(Problem(where=step(place, "SpotInstanceType"), what=what))
    if options.get("InstanceInterruptionBehavior", "terminate") != "terminate":
        what = f"must be terminate, got '{options['InstanceInterruptionBehavior']}': stopped machines still cost money."
        problems.append(Problem(where=step(place, "InstanceInterruptionBehavior"), what=what))
    price = options.get("MaxPrice")
    if isinstance(price, str) and not re.fullmatch(r"\d*\.?\d+", price):
        what = f"must be US dollars per hour as a string, such as '0.60', got '{price}'; correct it or remove it."
        problems.append(Problem(where=step(place, "MaxPrice"), what=what))
    return problems


def _check_disk(where: str, node_config: dict[str, Any]) -> list[Problem]:
    place = step(where, "BlockDeviceMappings")
    disks = [mapping(disk) for disk in sequence(node_config.get("BlockDeviceMappings"))]
    if not any(disk.get("DeviceName") == ROOT_DEVICE for disk in disks):
        got = ", ".join(f"'{disk.get('DeviceName')}'" for disk in disks) or "none"
        return [
            Problem(
                where=place,
                what=(
                    f"must contain the root disk {ROOT_DEVICE}, got {got}; otherwise it is only as large as the image."
                ),
            )
        ]
    problems: list[Problem] = []
    for index, disk in enumerate(disks):
        ebs, at = mapping(disk.get("Ebs")), step(step(place, index), "Ebs")
        size = integer(ebs.get("VolumeSize", 0), LEAST_DISK_GB)
        if disk.get("DeviceName") == ROOT_DEVICE and size < LEAST_DISK_GB:
            what = f"must be at least {LEAST_DISK_GB} GB for image, .venv and data, got {size}; raise it."
            problems.append(Problem(where=step(at, "VolumeSize"), what=what))
        if ebs.get("VolumeType") != "gp3":
            what = f"must be gp3, which is faster and cheaper, got '{ebs.get('VolumeType', '')}'."
            problems.append(Problem(where=step(at, "VolumeType"), what=what))
        if ebs.get("DeleteOnTermination") is False:
            what = "must be true; otherwise disks remain, and cost money, after their machines are terminated."
            problems.append(Problem(where=step(at, "DeleteOnTermination"), what=what))
    return problems


def _check_reach(where: str, node_config: dict[str, Any]) -> list[Problem]:
    if "NetworkInterfaces" in node_config:
        return []
    place = step(where, "SecurityGroupIds")
    groups = sequence(node_config.get("SecurityGroupIds"))
    if not groups:
        what = (
            "missing, so Ray would create a group with ssh open to 0.0.0.0/0; name a group that allows your "
            "address only."
        )
        return [Problem(where=place, what=what)]
    wrong = [group for group in groups if not is_placeholder(group) and not GROUP.fullmatch(str(group))]
    what = "must be group ids, sg- and 17 hexadecimal digits, got '{}'; see `aws ec2 describe-security-groups`."
    return [Problem(where=place, what=what.format(group)) for group in wrong]


def _check_ray_group(config: dict[str, Any]) -> list[Problem]:
    """Check rules for the group that Ray creates, which opens ssh to the internet in any case."""
    where = "provider.security_group.IpPermissions"
    rules = sequence(mapping(mapping(config.get("provider")).get("security_group")).get("IpPermissions"))
    problems: list[Problem] = []
    for index, rule in enumerate(map(mapping, rules)):
        ranges = [*sequence(rule.get("IpRanges")), *sequence(rule.get("Ipv6Ranges"))]
        for cidr in (mapping(part).get("CidrIp") or mapping(part).get("CidrIpv6") for part in ranges):
            if cidr in ANY_ADDRESS:
                ports = f"{rule.get('FromPort')} to {rule.get('ToPort')}"
                what = (
                    f"ports {ports} would be open to the internet, got {cidr}; use `ray dashboard`, which tunnels "
                    "through ssh."
                )
                problems.append(Problem(where=step(where, index), what=what))
    return problems


def _check_rights(kind: NodeType) -> list[Problem]:
    profile = mapping(kind.node_config.get("IamInstanceProfile"))
    name = str(profile.get("Name") or profile.get("Arn") or "").rsplit("/", 1)[-1]
    problems = check_account(kind, step(kind.place, "IamInstanceProfile"), name, "instance profile")
    options, where = mapping(kind.node_config.get("MetadataOptions")), step(kind.place, "MetadataOptions")
    if options.get("HttpTokens", "required") == "optional":
        what = "must be required, got 'optional', with which forged requests can read the machine's credentials."
        problems.append(Problem(where=step(where, "HttpTokens"), what=what))
    if options.get("HttpEndpoint") == "disabled":
        what = "must be enabled, got 'disabled': the machine reads the credentials of its profile there; remove it."
        problems.append(Problem(where=step(where, "HttpEndpoint"), what=what))
    return problems
