"""The table of machine types agrees with EC2's names and with the naming rules of the families."""

import pytest

from cluster.check.node_types import find_machine, known_machines
from cluster.check.schemas import instance_types


def test_every_machine_of_aws_is_an_ec2_instance_type():
    assert set(known_machines("aws")) <= set(instance_types())


@pytest.mark.parametrize("kind", ["aws", "gcp", "gcp_accelerators"])
def test_a_gpu_has_memory_and_a_capability_and_a_cpu_machine_neither(kind: str):
    for machine in known_machines(kind).values():
        assert (machine.gpus > 0) == (machine.gpu_gb > 0) == (machine.capability > 0)


@pytest.mark.parametrize("kind", ["gcp"])
def test_names_of_google_machines_contain_their_cpus_or_gpus(kind: str):
    for name, machine in known_machines(kind).items():
        family, _, size = name.split("-")
        assert size == (f"{machine.gpus}g" if family == "a2" else str(machine.cpus))


def test_a_machine_that_is_sold_but_not_listed_can_be_declared():
    machine, (problem,) = find_machine("InstanceType", "g6f.2xlarge", "aws", instance_types())
    assert machine is None
    assert str(problem) == (
        "InstanceType: 'g6f.2xlarge' is not in cluster/instance_types.toml; add a line there with its CPUs and GPUs."
    )
