"""Machines of AWS: region, image, instance types, spot options, disks, and who may reach them."""

import re
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.finding import Finding, mapping, nearest, sequence, step, whole
from cluster.check.node_types import TYPES, check_capability, check_resources, find_machine, head_name, node_types
from cluster.check.schemas import check_request, instance_types, regions
from cluster.check.versions import Locked

IMAGE = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})|resolve:ssm:/\S+")
"""An image's id, or the parameter of Systems Manager in which EC2 looks it up."""

GROUP = re.compile(r"sg-([0-9a-f]{8}|[0-9a-f]{17})")

ROOT_DEVICE = "/dev/sda1"
"""The root disk of Ubuntu's images; of another name it would be a second disk, and the root as small as the image."""

LEAST_DISK_GB = 100
"""The Deep Learning image takes some 60 GB, .venv 7, the three data sets 30."""

EVERYBODY = ("0.0.0.0/0", "::/0")


def check_aws(config: dict[str, Any], locked: Locked) -> list[Finding]:
    """Everything of an AWS cluster's file that Ray hands on to AWS unseen."""
    findings = [*_check_region(config), *_check_login(config), *_check_group_of_ray(config)]
    for name, kind in node_types(config).items():
        head = name == head_name(config)
        node_config = mapping(kind.get("node_config"))
        where = step(step(TYPES, name), "node_config")
        findings += [
            *check_request(where, node_config),
            *_check_image(where, node_config),
            *_check_machine(step(TYPES, name), kind, locked, head=head),
            *_check_market(where, node_config, head=head),
            *_check_disk(where, node_config),
            *_check_reach(where, node_config),
            *_check_rights(where, node_config),
        ]
    return findings


def _check_region(config: dict[str, Any]) -> list[Finding]:
    provider = mapping(config.get("provider"))
    region = provider.get("region")
    if is_placeholder(region):
        return []
    if region not in regions():
        hint = nearest(str(region), regions()) or "; name one, such as us-east-1."
        return [Finding(where="provider.region", what=f"AWS has no region '{region or ''}'{hint}")]
    zones = [zone.strip() for zone in str(provider.get("availability_zone", "")).split(",") if zone.strip()]
    return [
        Finding(
            where="provider.availability_zone",
            what=f"a zone of {region} is {region} and a letter, got '{zone}'; name such zones, or leave the key out.",
        )
        for zone in zones
        if not re.fullmatch(rf"{region}[a-z]", zone)
    ]


def _check_login(config: dict[str, Any]) -> list[Finding]:
    """With a private key of the user's, EC2 must be told its name for every machine; without one Ray makes both."""
    own = "ssh_private_key" in mapping(config.get("auth"))
    findings: list[Finding] = []
    for name, kind in node_types(config).items():
        node_config = mapping(kind.get("node_config"))
        where = step(step(step(TYPES, name), "node_config"), "KeyName")
        if own and "KeyName" not in node_config and "UserData" not in node_config:
            findings.append(Finding(where=where, what="it is missing; auth.ssh_private_key needs its key pair's name."))
        if not own and "KeyName" in node_config:
            what = f"it needs auth.ssh_private_key, the file of '{node_config['KeyName']}'; give it or leave both out."
            findings.append(Finding(where=where, what=what))
    return findings


def _check_image(where: str, node_config: dict[str, Any]) -> list[Finding]:
    image = node_config.get("ImageId")
    if is_placeholder(image) or IMAGE.fullmatch(str(image)):
        return []
    what = f"it must be ami- and 17 hexadecimal digits, got '{image or ''}'; config.yaml says how to find the newest."
    return [Finding(where=step(where, "ImageId"), what=what)]


def _check_machine(where: str, kind: dict[str, Any], locked: Locked, *, head: bool) -> list[Finding]:
    place = step(step(where, "node_config"), "InstanceType")
    name = mapping(kind.get("node_config")).get("InstanceType")
    if not isinstance(name, str):
        return [Finding(where=place, what=f"it must name a machine, such as g6.2xlarge, got '{name or ''}'; give it.")]
    machine, findings = find_machine(place, name, "aws", instance_types())
    if machine is None:
        return findings
    resources = mapping(kind.get("resources"))
    if whole(resources.get("GPU")) and not machine.gpus:
        return [
            Finding(where=place, what=f"GPU is declared, but '{name}' has none; take g4dn, g5, g6, g6e, p4d or p5.")
        ]
    return [
        *check_resources(where, resources, name, machine, head=head),
        *check_capability(place, name, machine, locked),
    ]


def _check_market(where: str, node_config: dict[str, Any], *, head: bool) -> list[Finding]:
    place = step(where, "InstanceMarketOptions")
    market = mapping(node_config.get("InstanceMarketOptions"))
    if head:
        spot = market.get("MarketType") == "spot"
        what = "a head must not be spot, got MarketType 'spot': with it goes the study's driver; take the lines out."
        return [Finding(where=place, what=what)] if spot else []
    if "MarketType" not in market:
        what = (
            "it is missing; say spot, or on-demand where a machine must not be taken back at more than twice the price."
        )
        return [Finding(where=step(place, "MarketType"), what=what)]
    options, place = mapping(market.get("SpotOptions")), step(place, "SpotOptions")
    findings: list[Finding] = []
    if options and market["MarketType"] != "spot":
        findings.append(Finding(where=place, what=f"they go with spot, got MarketType '{market['MarketType']}'."))
    if options.get("SpotInstanceType") == "persistent":
        what = "it must be one-time, got 'persistent': AWS would start machines that Ray does not know of."
        findings.append(Finding(where=step(place, "SpotInstanceType"), what=what))
    if options.get("InstanceInterruptionBehavior", "terminate") != "terminate":
        what = f"it must be terminate, got '{options['InstanceInterruptionBehavior']}': what is stopped costs on."
        findings.append(Finding(where=step(place, "InstanceInterruptionBehavior"), what=what))
    price = options.get("MaxPrice")
    if isinstance(price, str) and not re.fullmatch(r"\d*\.?\d+", price):
        what = f"it must be dollars an hour as text, such as '0.60', got '{price}'; or leave it out."
        findings.append(Finding(where=step(place, "MaxPrice"), what=what))
    return findings


def _check_disk(where: str, node_config: dict[str, Any]) -> list[Finding]:
    place = step(where, "BlockDeviceMappings")
    disks = [mapping(disk) for disk in sequence(node_config.get("BlockDeviceMappings"))]
    if not any(disk.get("DeviceName") == ROOT_DEVICE for disk in disks):
        got = ", ".join(f"'{disk.get('DeviceName')}'" for disk in disks) or "none"
        return [
            Finding(where=place, what=f"the root disk is {ROOT_DEVICE}, got {got}; else it is as small as the image.")
        ]
    findings: list[Finding] = []
    for index, disk in enumerate(disks):
        ebs, at = mapping(disk.get("Ebs")), step(step(place, index), "Ebs")
        size = whole(ebs.get("VolumeSize", 0), LEAST_DISK_GB)
        if disk.get("DeviceName") == ROOT_DEVICE and size < LEAST_DISK_GB:
            what = f"it must be at least {LEAST_DISK_GB} GB for image, .venv and data, got {size}; raise it."
            findings.append(Finding(where=step(at, "VolumeSize"), what=what))
        if ebs.get("VolumeType") != "gp3":
            what = f"it must be gp3, which is faster and costs less, got '{ebs.get('VolumeType', '')}'."
            findings.append(Finding(where=step(at, "VolumeType"), what=what))
        if ebs.get("DeleteOnTermination") is False:
            what = "it must be true: disks would stay and cost when their machines are gone."
            findings.append(Finding(where=step(at, "DeleteOnTermination"), what=what))
    return findings


def _check_reach(where: str, node_config: dict[str, Any]) -> list[Finding]:
    if "NetworkInterfaces" in node_config:
        return []
    place = step(where, "SecurityGroupIds")
    groups = sequence(node_config.get("SecurityGroupIds"))
    if not groups:
        what = "it is missing, so Ray makes a group with ssh open to 0.0.0.0/0; name one that is open to your address."
        return [Finding(where=place, what=what)]
    wrong = [group for group in groups if not is_placeholder(group) and not GROUP.fullmatch(str(group))]
    what = "a group's id is sg- and 17 hexadecimal digits, not its name, got '{}'; `aws ec2 describe-security-groups`."
    return [Finding(where=place, what=what.format(group)) for group in wrong]


def _check_group_of_ray(config: dict[str, Any]) -> list[Finding]:
    """Rules for the group that Ray makes; whatever they say, it opens ssh to the world as well."""
    where = "provider.security_group.IpPermissions"
    rules = sequence(mapping(mapping(config.get("provider")).get("security_group")).get("IpPermissions"))
    findings: list[Finding] = []
    for index, rule in enumerate(map(mapping, rules)):
        ranges = [*sequence(rule.get("IpRanges")), *sequence(rule.get("Ipv6Ranges"))]
        for cidr in (mapping(part).get("CidrIp") or mapping(part).get("CidrIpv6") for part in ranges):
            if cidr in EVERYBODY:
                ports = f"{rule.get('FromPort')} to {rule.get('ToPort')}"
                what = f"ports {ports} would be open to everybody, got {cidr}; use `ray dashboard`, through ssh."
                findings.append(Finding(where=step(where, index), what=what))
    return findings


def _check_rights(where: str, node_config: dict[str, Any]) -> list[Finding]:
    profile = mapping(node_config.get("IamInstanceProfile"))
    if profile.get("Name") or profile.get("Arn"):
        return []
    what = (
        "it is missing, so the machine may not read the bucket; name the instance profile that cluster/README.md makes."
    )
    return [Finding(where=step(where, "IamInstanceProfile"), what=what)]
