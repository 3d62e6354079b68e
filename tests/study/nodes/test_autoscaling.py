"""Which machines a study may count on."""

from pathlib import Path

import pytest

from pan_model.errors import UserError
from study.nodes.autoscaling import HEAD_RESOURCE, find_nodes
from study.nodes.node import Node

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


def test_workers_that_sleep_count_beside_the_head(tmp_path: Path):
    large, small = Node(cpus=32, gpus=4), Node(cpus=8, gpus=1)
    assert find_nodes([HEAD], "auto", bootstrap(tmp_path)) == (Node(cpus=4, gpus=0), large, large, small)


def test_a_worker_that_is_awake_counts_once(tmp_path: Path):
    alive = [HEAD, {"CPU": 8.0, "GPU": 1.0}]
    assert find_nodes(alive, "auto", bootstrap(tmp_path)) == find_nodes([HEAD], "auto", bootstrap(tmp_path))


def test_without_workers_in_the_yaml_those_that_are_alive_count(tmp_path: Path):
    alive = [HEAD, {"CPU": 8.0, "GPU": 1.0}]
    alone = bootstrap(tmp_path, "max_workers: 0\nhead_node_type: head\navailable_node_types: {head: {}}\n")
    for file in (alone, None):
        assert find_nodes(alive, "auto", file) == (Node(cpus=4, gpus=0), Node(cpus=8, gpus=1))


def test_a_ray_of_this_machine_has_no_workers_to_come(tmp_path: Path):
    assert find_nodes([HEAD], None, bootstrap(tmp_path)) == (Node(cpus=4, gpus=0),)


def test_the_environment_may_tell_of_workers():
    told = {"PAN_STUDY_WORKERS": "3 x CPU=7,GPU=1"}
    assert find_nodes([HEAD], "auto", None, told) == (Node(cpus=4, gpus=0), *[Node(cpus=7, gpus=1)] * 3)
    assert find_nodes([HEAD], None, None, told) == (Node(cpus=4, gpus=0),)


@pytest.mark.parametrize("text", ["4", "4 x GPU=1", "four x CPU=7", "4 x CPU=7, GPU=1"])
def test_workers_that_cannot_be_read_are_told(text: str):
    with pytest.raises(UserError, match=rf"^PAN_STUDY_WORKERS must be a number .*, got '{text}'\.$"):
        find_nodes([HEAD], "auto", None, {"PAN_STUDY_WORKERS": text})
