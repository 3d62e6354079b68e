"""Tests of nodes that need a real Ray: two nodes on this machine, one of which has other files in a folder."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray import cloudpickle, tune
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.features import FeaturesConfig, extract_features
from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.items import Items
from pan_model.images.decoded_cache import load_decoded_images
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.finetuning import FinetuneStart
from pan_model.training.trainer import Trainer
from study.nodes.feature_extraction import ClusterExtractor
from study.nodes.file_server import file_server, this_node
from study.nodes.gpu_memory import probe_gpu
from study.nodes.image_transfer import start_on_this_node
from study.nodes.resources import Node
from study.trials.preparation import PreparedDataset

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers need not import this module and all it imports
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

NUM_IMAGES = 40  # two batches of 16 and a half
CONFIG = FeaturesConfig(backbone="shufflenet_v2_x0_5", weights="random", image_size=32)
WIDTH = 2048
TRIAL = {
    "encoder": "siamese",
    "supervision": "unsupervised",
    "num_conditions": 4,
    "learning_rate": 1e-2,
    "pairs": "fresh",
    "pairs_per_epoch": 64,
    "steps_per_epoch": 1,
    "max_epochs": 1,
    "seed": 0,
}
START_S = 120


@dataclass(frozen=True)
class TwoNodes:
    """Two nodes with one CPU each. The driver joins the first; the second cannot read the files in `hidden`."""

    hidden: Path
    other: str
    nodes: tuple[Node, ...] = (Node(cpus=1, gpus=0), Node(cpus=1, gpus=0))


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    hidden = tmp_path_factory.mktemp("hidden")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("a node with files of its own needs a mount namespace, which is not permitted here")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1, "include_dashboard": False})
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
    """Occupy the CPU of the driver's node, so that the other node does all work."""
    here = this_node()
    busy = ray.remote(Busy).options(num_cpus=1, scheduling_strategy=here).remote()
    ray.get(busy.begin.remote())
    yield
    ray.kill(busy)


class Busy:
    """Occupies its resources."""

    def begin(self) -> None:
        """Return when the actor runs."""


def start_node(address: str, hidden: Path) -> "subprocess.Popen[bytes]":
    """Start a node that has an empty folder in place of the hidden one."""
    ray_start = f"{sys.executable} -m ray.scripts.scripts start --address={address} --num-cpus=1 --block"
    words = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {hidden} && exec {ray_start}"]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def end_node(node: "subprocess.Popen[bytes]") -> None:
    """End a node with all processes of its session."""
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


def test_trials_of_a_node_share_one_copy_of_the_images(draw_items: Callable[..., Items], two_nodes: TwoNodes):
    cache = two_nodes.hidden / "cache"
    images = load_decoded_images(draw_items(12), "sha256:0", 32, cache)
    start = FinetuneStart(backbone=build_backbone("shufflenet_v2_x0_5"), images=images)
    with file_server() as server:
        there = NodeAffinitySchedulingStrategy(two_nodes.other, soft=False)
        trial = ray.remote(num_cpus=0.5, scheduling_strategy=there)(open_start)
        seen = ray.get([trial.remote(ray.put(start), server) for _ in range(2)])
        assert start_on_this_node(start, server).images is images
    for path, inode, rows, folder in seen:
        assert path == images.path
        np.testing.assert_array_equal(rows, images.read(np.arange(len(images))))
        assert sorted(folder) == sorted([images.path.name, images.path.with_suffix(".lock").name])
        assert inode == seen[0][1] != images.path.stat().st_ino


def open_start(start: FinetuneStart, server: Any) -> tuple[Path, int, np.ndarray, list[str]]:
    """Return what a trial on a node sees: the file of its images, its inode, its rows, and the files next to it."""
    images = start_on_this_node(start, server).images
    folder = [file.name for file in images.path.parent.iterdir()]
    return images.path, images.path.stat().st_ino, images.read(np.arange(len(images))), folder


@pytest.mark.usefixtures("only_the_other")
def test_a_node_that_does_not_share_the_images_is_sent_them(
    draw_items: Callable[..., Items], tmp_path: Path, two_nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
):
    items = draw_items(NUM_IMAGES, two_nodes.hidden)
    truncated = items.image_path(5)
    truncated.write_bytes(truncated.read_bytes()[:500])
    local = extract_features(items, "sha256:0", CONFIG, tmp_path / "local", skip_bad_images=True)
    said: list[str] = []
    monkeypatch.chdir(two_nodes.hidden)
    cluster = extract_features(
        replace(items, image_root=Path("images")),
        "sha256:0",
        CONFIG,
        tmp_path / "cluster",
        skip_bad_images=True,
        extractor=ClusterExtractor(nodes=two_nodes.nodes, say=said.append, few=1),
    )
    np.testing.assert_array_equal(cluster.values, local.values)
    assert list(cluster.unreadable) == list(local.unreadable) == ["5.png"]
    assert said[0] == "features of 40 images are extracted on 2 workers of 1 CPU of the cluster"
    assert re.fullmatch(r"\S+ does not share images: its images are read here and sent", said[1])
    assert len(said) == 2


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_is_measured_on_a_node_that_ray_counts_one_on(prepared: PreparedDataset, small_trial: dict[str, object]):
    assert probe_gpu(prepared, [TrialConfig.from_flat(small_trial)]) is None


@pytest.mark.usefixtures("two_nodes")
def test_trials_map_the_same_features_and_copy_none(featured: FeaturedItems):
    features = np.random.default_rng(0).normal(size=(len(featured.classes), WIDTH)).astype(np.float32)
    trainable: Any = tune.with_parameters(MappingTrial, featured=replace(featured, features=features))
    trial = ray.remote(trainable).options(num_cpus=0, scheduling_strategy=this_node())
    trials: list[Any] = [trial.remote(config={}) for _ in range(2)]
    try:
        first, second = ray.get([trial.train.remote() for trial in trials])
    finally:
        for trial in trials:
            ray.kill(trial)
    assert first["pid"] != second["pid"]
    for name in ("writeable", "file", "place", "copied", "sum"):
        assert first[name] == second[name], name
    assert not first["writeable"]
    assert not first["copied"]
    assert first["sum"] == float(features.sum())


class MappingTrial(tune.Trainable):
    """Trains an epoch on the features, then reports in which memory they are."""

    def setup(self, config: dict[str, Any], featured: FeaturedItems | None = None) -> None:
        assert featured is not None
        self._features = featured.features
        self._trainer = Trainer(FewShotTask(featured, seed=0), TrialConfig.from_flat(TRIAL), torch.device("cpu"))

    def step(self) -> dict[str, Any]:
        self._trainer.train_epoch()
        features, seen = self._features, self._trainer._inputs._features
        start, file = shared_memory_at(features.ctypes.data)
        return {
            "writeable": features.flags.writeable,
            "file": file,
            "place": features.ctypes.data - start,
            "copied": seen.data_ptr() != features.ctypes.data,
            "sum": float(features.sum()),
            "done": True,
        }


def shared_memory_at(address: int) -> tuple[int, str]:
    """Return the start and the file of the shared memory that is mapped at an address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        ends, _, offset, device, inode, *path = line.split()
        start, stop = (int(end, 16) for end in ends.split("-"))
        if start <= address < stop:
            assert path
            assert path[0].startswith("/dev/shm/plasma"), f"{path} is not the object store's"
            return start - int(offset, 16), f"{device} {inode}"
    raise AssertionError("not mapped")
