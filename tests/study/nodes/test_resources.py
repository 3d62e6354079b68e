"""Nodes that a study may use: workers that an autoscaler may start, and on-premise machines that join late."""

import json
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from study.nodes.resources import (
    HEAD_RESOURCE,
    JOIN_TIMEOUT_S,
    Node,
    count_machines,
    find_nodes,
    usable_cpus,
    wait_for_machines,
)

HEAD = {"CPU": 4.0, HEAD_RESOURCE: 1.0}
CLUSTER = """
max_workers: 3
head_node_type: head
available_node_types:
  head: {resources: {CPU: 4}, node_config: {}}
  gpu: {resources: {CPU: 8, GPU: 1}, min_workers: 0, max_workers: 2, node_config: {}}
  large: {resources: {CPU: 32, GPU: 4}, min_workers: 0, max_workers: 2, node_config: {}}
"""


def bootstrap(folder: Path, text: str = CLUSTER) -> Path:
    file = folder / "bootstrap.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_workers_yet_to_start_count_besides_the_head(tmp_path: Path):
    large, small = Node(cpus=32, gpus=4), Node(cpus=8, gpus=1)
    assert find_nodes([HEAD], "auto", bootstrap(tmp_path)) == (Node(cpus=4, gpus=0), large, large, small)


def test_a_worker_that_is_alive_counts_once(tmp_path: Path):
    alive = [HEAD, {"CPU": 8.0, "GPU": 1.0}]
    assert find_nodes(alive, "auto", bootstrap(tmp_path)) == find_nodes([HEAD], "auto", bootstrap(tmp_path))


def test_without_workers_in_the_yaml_those_that_are_alive_count(tmp_path: Path):
    alive = [HEAD, {"CPU": 8.0, "GPU": 1.0}]
    alone = bootstrap(tmp_path, "max_workers: 0\nhead_node_type: head\navailable_node_types: {head: {}}\n")
    for file in (alone, None):
        assert find_nodes(alive, "auto", file) == (Node(cpus=4, gpus=0), Node(cpus=8, gpus=1))


def test_a_ray_of_this_machine_has_no_workers_to_come(tmp_path: Path):
    assert find_nodes([HEAD], None, bootstrap(tmp_path)) == (Node(cpus=4, gpus=0),)


def test_the_environment_may_list_workers():
    told = {"PAN_STUDY_WORKERS": "3 x CPU=7,GPU=1"}
    assert find_nodes([HEAD], "auto", None, told) == (Node(cpus=4, gpus=0), *[Node(cpus=7, gpus=1)] * 3)
    assert find_nodes([HEAD], None, None, told) == (Node(cpus=4, gpus=0),)


@pytest.mark.parametrize("text", ["4", "4 x GPU=1", "four x CPU=7", "4 x CPU=7, GPU=1"])
def test_a_malformed_list_of_workers_is_rejected(text: str):
    with pytest.raises(UserError, match=rf"^PAN_STUDY_WORKERS must be a number .*, got '{text}'\.$"):
        find_nodes([HEAD], "auto", None, {"PAN_STUDY_WORKERS": text})


def write_yaml(tmp_path: Path, provider: str, kind: dict[str, Any]) -> Path:
    file = tmp_path / "ray_bootstrap_config.yaml"
    cluster = {"provider": {"type": provider}, "available_node_types": {"node": kind}}
    file.write_text(json.dumps(cluster), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("provider", "kind", "number"),
    [("local", {"min_workers": 2}, 3), ("local", {}, 1), ("aws", {"min_workers": 2}, 1)],
)
def test_on_premise_machines_are_counted(tmp_path: Path, provider: str, kind: dict[str, Any], number: int):
    assert count_machines(write_yaml(tmp_path, provider, kind)) == number


def test_no_cluster_is_one_machine():
    assert count_machines(None) == 1


def wait(joined: list[int]) -> tuple[list[str], float]:
    """Wait for 3 machines, given the count at each poll; return the printed lines and the seconds it took."""
    now_s, said = [0.0], list[str]()

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    wait_for_machines(3, lambda: joined.pop(0) if len(joined) > 1 else joined[0], said.append, lambda: now_s[0], sleep)
    return said, now_s[0]


def test_nothing_is_printed_when_all_machines_have_joined():
    assert wait([3]) == ([], 0)


def test_late_machines_are_waited_for():
    said, took_s = wait([1, 1, 2, 3])
    assert len(said) == 1
    assert said[0].startswith("1 of 3 machines have joined the cluster: waiting for the others, at most 10 minutes")
    assert 0 < took_s < 60


def test_waiting_for_a_machine_that_is_off_ends():
    said, took_s = wait([2])
    assert said[-1] == "continuing with 2 of 3 machines; remove those that are off from worker_ips."
    assert took_s == pytest.approx(JOIN_TIMEOUT_S, abs=5)


@pytest.mark.parametrize(("content", "most"), [("max 100000", 10**6), ("50000 100000", 1), ("100000 100000", 1)])
def test_a_container_s_quota_limits_the_cores(tmp_path: Path, content: str, most: int):
    quota = tmp_path / "cpu.max"
    quota.write_text(f"{content}\n")
    cores = usable_cpus(tmp_path / "no such file")
    assert cores >= 1
    assert usable_cpus(quota) == min(cores, most)
