"""Features extracted by a cluster equal those of one process, bit for bit, wherever the images are."""

import re
from collections.abc import Callable, Generator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import RayError
from safetensors import safe_open

from pan_model.backbones.config import FeaturesConfig
from pan_model.backbones.extraction import Extraction
from pan_model.backbones.features import Features, extract_features
from pan_model.data.items import Items
from pan_model.errors import UserError
from study.nodes import feature_extraction
from study.nodes.feature_extraction import (
    BLOCKS_PER_WORKER,
    CPUS_PER_WORKER,
    FEW_IMAGES,
    ClusterExtractor,
    NodeExtractor,
    Workers,
    allocate_workers,
)
from study.nodes.resources import Node

CONFIG = FeaturesConfig(backbone="shufflenet_v2_x0_5", weights="random", image_size=32)
NUM_IMAGES = 75  # four batches of 16 and a part of one


def extract(items: Items, cache: Path, **options: Any) -> Features:
    return extract_features(items, "sha256:0", CONFIG, cache, **options)


def digest_in(cache: Path) -> str:
    (path,) = cache.rglob("*.safetensors")
    with safe_open(path, framework="numpy") as file:
        return file.metadata()["sha256"]


def damage(items: Items, *indices: int) -> None:
    for index in indices:
        path = items.image_path(index)
        path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("nodes", "workers"),
    [
        ([Node(cpus=8, gpus=0), Node(cpus=32, gpus=1), Node(cpus=32, gpus=1)], Workers(2, 16, 1)),
        ([Node(cpus=8, gpus=4), Node(cpus=8, gpus=1)], Workers(5, 2, 1)),
        ([Node(cpus=2, gpus=4)], Workers(4, 1, 1)),
        ([Node(cpus=0, gpus=0), Node(cpus=6, gpus=0), Node(cpus=16, gpus=0)], Workers(5, CPUS_PER_WORKER, 0)),
        ([Node(cpus=1, gpus=0), Node(cpus=16, gpus=0)], Workers(17, 1, 0)),
        ([Node(cpus=0, gpus=1), Node(cpus=2, gpus=0)], Workers(1, 2, 0)),
        ([Node(cpus=0, gpus=0)], Workers(0, CPUS_PER_WORKER, 0)),
    ],
)
def test_a_cluster_is_divided_into_workers(nodes: list[Node], workers: Workers):
    assert allocate_workers(nodes) == workers


@given(st.integers(1, 40), st.integers(1, 16), st.integers(0, 1), st.integers(1, 300_000))
def test_blocks_are_whole_batches_and_enough_for_all_workers(count: int, cpus: int, gpus: int, num_images: int):
    workers = Workers(count, cpus, gpus)
    blocks = workers.split(num_images)
    assert [index for block in blocks for index in (block.start, block.stop)][1:-1:2] == [p.start for p in blocks[1:]]
    assert (blocks[0].start, blocks[-1].stop) == (0, num_images)
    assert {len(block) % workers.batch_size for block in blocks[:-1]} <= {0}
    batches = num_images / workers.batch_size
    assert len(blocks) >= min(batches, BLOCKS_PER_WORKER * count) / 2


@pytest.mark.parametrize(("few", "nodes"), [(FEW_IMAGES, 2), (1, 1)])
def test_few_images_or_one_node_need_no_ray(draw_items: Callable[..., Items], tmp_path: Path, few: int, nodes: int):
    items = draw_items(3)
    said: list[str] = []
    extractor = ClusterExtractor(nodes=[Node(cpus=1, gpus=0)] * nodes, say=said.append, few=few)
    features = extract(items, tmp_path / "cluster", extractor=extractor)
    np.testing.assert_array_equal(features.values, extract(items, tmp_path / "local").values)
    assert said == []


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def extractor(said: list[str], local_server: Any, monkeypatch: pytest.MonkeyPatch) -> ClusterExtractor:
    """Extracts in this process, block by block from the last to the first."""

    def run(extraction: Extraction, workers: Workers, server: Any) -> Generator[dict[str, np.ndarray]]:
        root = extraction.items.image_root
        sizes = np.array([feature_extraction._size(root / name) for name in extraction.items.image_names])
        node: Any = NodeExtractor((extraction, root), sizes, server, workers)
        for block in reversed(workers.split(len(sizes))):
            yield node({"start": np.array([block.start]), "stop": np.array([block.stop])})

    monkeypatch.setattr(feature_extraction, "_run", run)
    monkeypatch.setattr(feature_extraction, "file_server", lambda: nullcontext(local_server))
    return ClusterExtractor(nodes=[Node(cpus=1, gpus=0)] * 2, say=said.append, few=1)


@pytest.mark.parametrize("hidden", [False, True])
def test_rows_are_those_of_one_process_in_any_order(
    draw_items: Callable[..., Items],
    tmp_path: Path,
    extractor: ClusterExtractor,
    said: list[str],
    hidden: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    items = draw_items(NUM_IMAGES)
    damage(items, 5, 70)
    local = extract(items, tmp_path / "local", skip_bad_images=True)
    if hidden:
        monkeypatch.setattr(feature_extraction, "read_file", lambda _: FileNotFoundError())
    progress: list[tuple[int, int]] = []
    cluster = extract(
        items,
        tmp_path / "cluster",
        extractor=extractor,
        skip_bad_images=True,
        progress=lambda done, total: progress.append((done, total)),
    )
    np.testing.assert_array_equal(cluster.values, local.values)
    assert cluster.unreadable == local.unreadable
    assert list(cluster.unreadable) == ["5.png", "70.png"]
    assert progress[-1] == (NUM_IMAGES, NUM_IMAGES)
    assert sorted(progress) == progress
    assert digest_in(tmp_path / "cluster") == digest_in(tmp_path / "local")
    assert extract(items, tmp_path / "cluster", skip_bad_images=True).from_cache
    assert said[0] == "features of 75 images are extracted on 2 workers of 1 CPU of the cluster"
    assert len(said) == 1 + hidden


def test_bad_images_are_reported_as_in_one_process(
    draw_items: Callable[..., Items],
    tmp_path: Path,
    extractor: ClusterExtractor,
    local_server: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    items = draw_items(NUM_IMAGES)
    damage(items, 3, 40, 41)
    items.image_path(60).unlink()
    with pytest.raises(UserError, match=r"4 of 75 images cannot be read, the first is .*/3\.png: .*truncated") as local:
        extract(items, tmp_path / "local")
    monkeypatch.setattr(feature_extraction, "read_file", lambda _: FileNotFoundError())
    with pytest.raises(UserError, match=f"^{re.escape(str(local.value))}$"):
        extract(items, tmp_path / "cluster", extractor=extractor)
    assert not (tmp_path / "cluster").exists()
    assert local_server.aborted.remote(), "other workers extract for nothing"


def test_a_worker_that_fails_is_one_line(
    draw_items: Callable[..., Items], tmp_path: Path, extractor: ClusterExtractor, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: Any) -> Generator[dict[str, np.ndarray]]:
        raise RayError("a traceback\n\nof many lines\n")
        yield {}

    monkeypatch.setattr(feature_extraction, "_run", fail)
    told = r"^features cannot be extracted on the cluster \(RayError: of many lines\); check that every node has"
    with pytest.raises(UserError, match=told):
        extract(draw_items(3), tmp_path / "cluster", extractor=extractor)
