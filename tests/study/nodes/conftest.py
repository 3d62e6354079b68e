"""A cluster of two nodes on this machine, the second of which has other files below one folder."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.data.items import Items
from study.nodes.resources import Node

START_S = 120


@dataclass(frozen=True)
class TwoNodes:
    """A driver joined to the first of two nodes, each with one CPU; the second sees none of what lies in `hidden`."""

    hidden: Path
    other: str
    nodes: tuple[Node, ...] = (Node(cpus=1, gpus=0), Node(cpus=1, gpus=0))


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    hidden = tmp_path_factory.mktemp("hidden")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a node with files of its own needs a mount namespace, which is not permitted here")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        here = ray.get_runtime_context().get_node_id()
        other = start_node(cluster.address, hidden)
        try:
            yield TwoNodes(hidden=hidden, other=wait_for_other(here))
        finally:
            ray.shutdown()
            end_node(other)
    finally:
        cluster.shutdown()


@pytest.fixture
def only_the_other(two_nodes: TwoNodes) -> Iterator[None]:
    """Leave no CPU on the driver's node, so that all work is done on the other one."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    busy = ray.remote(Busy).options(num_cpus=1, scheduling_strategy=here).remote()
    ray.get(busy.begin.remote())
    yield
    ray.kill(busy)


class Busy:
    """Holds what it was given."""

    def begin(self) -> None:
        """It has begun."""


def start_node(address: str, hidden: Path) -> "subprocess.Popen[bytes]":
    """A node that has an empty folder where this process has the hidden one."""
    ray_start = f"{sys.executable} -m ray.scripts.scripts start --address={address} --num-cpus=1 --block"
    words = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {hidden} && exec {ray_start}"]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def end_node(node: "subprocess.Popen[bytes]") -> None:
    """End it with all its processes, which are those of its session."""
    node.terminate()
    try:
        node.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def wait_for_other(here: str) -> str:
    end_s = time.monotonic() + START_S
    while time.monotonic() < end_s:
        for node in ray.nodes():
            if node["Alive"] and node["NodeID"] != here:
                return node["NodeID"]
        time.sleep(0.5)
    raise AssertionError(f"the second node did not start within {START_S} s")


@pytest.fixture
def draw_items(tmp_path: Path) -> Callable[..., Items]:
    """Draw images of noise below a folder, or the test's own; items are named 0.png, 1.png and so on."""

    def draw(num_items: int, folder: Path = tmp_path) -> Items:
        root = folder / "images"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        generator = np.random.default_rng(0)
        for number in range(num_items):
            Image.fromarray(generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(root / f"{number}.png")
        return Items(
            image_root=root,
            image_names=tuple(f"{number}.png" for number in range(num_items)),
            classes=np.zeros(num_items, dtype=np.int64),
            class_names=("only",),
            attributes=np.zeros((num_items, 1), dtype=bool),
            certainty=np.zeros((num_items, 1), dtype=np.uint8),
            attribute_names=("none",),
        )

    return draw
