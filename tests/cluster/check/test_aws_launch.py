"""Ray's own code for AWS starts the machines of config.yaml, on a simulated AWS without network access."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

RIGHTS = Path(__file__).parents[3] / "cluster" / "aws"
REGION = "us-east-1"


def make_account(bucket: str) -> dict[str, str]:
    """Create the resources of the one-time setup in cluster/README.md, and return values for config.yaml."""
    ec2, iam = boto3.client("ec2", REGION), boto3.client("iam", REGION)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="pan-study", Description="pan-study", VpcId=vpc)["GroupId"]
    trust = (RIGHTS / "trust.json").read_text(encoding="utf-8")
    for node, policies in {"head": ("worker", "head"), "worker": ("worker",)}.items():
        name = f"pan-study-{node}"
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        for policy in policies:
            text = (RIGHTS / f"{policy}.json").read_text(encoding="utf-8").replace("YOUR-BUCKET", bucket)
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=text)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return {"sg-0123456789abcdef0": group, "ami-0123456789abcdef0": ec2.describe_images()["Images"][0]["ImageId"]}


def launch(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Start a machine of each node type with Ray's code, and return the machines as AWS describes them."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config

    config = bootstrap_aws(prepare_config(config))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, kind in config["available_node_types"].items():
        provider.create_node(kind["node_config"], {"ray-user-node-type": name}, 1)
    found = boto3.client("ec2", REGION).describe_instances()["Reservations"]
    return [machine for reservation in found for machine in reservation["Instances"]]


def test_ray_starts_a_head_and_a_spot_worker(
    filled: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unused")
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray stores the key pair that it creates
    text = filled("config.yaml")
    with mock_aws():
        for placeholder, value in make_account("birds").items():
            text = text.replace(placeholder, value)
        head, worker = launch(yaml.safe_load(text))
        disks = boto3.client("ec2", REGION).describe_volumes()["Volumes"]
    assert (head["InstanceType"], head.get("InstanceLifecycle")) == ("m7i.2xlarge", None)
    assert (worker["InstanceType"], worker["InstanceLifecycle"]) == ("g6.2xlarge", "spot")
    assert [machine["IamInstanceProfile"]["Arn"].rsplit("/")[-1] for machine in (head, worker)] == [
        "pan-study-head",
        "pan-study-worker",
    ]
    assert {group["GroupName"] for machine in (head, worker) for group in machine["SecurityGroups"]} == {"pan-study"}
    assert sorted((disk["Size"], disk["VolumeType"]) for disk in disks) == [(150, "gp3"), (200, "gp3")]
    assert (tmp_path / ".ssh" / f"ray-autoscaler_{REGION}.pem").stat().st_mode & 0o077 == 0
