"""Features by all nodes of a cluster are those of one process, bit for bit, wherever the images lie."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from pan_model.backbones.config import FeaturesConfig
from pan_model.backbones.features import Features, extract_features
from pan_model.data.items import Items
from pan_model.errors import UserError
from study.nodes.feature_extraction import (
    BLOCKS_PER_WORKER,
    CPUS_PER_WORKER,
    FEW_IMAGES,
    ClusterExtractor,
    Workers,
    allocate_workers,
)
from study.nodes.resources import Node
from tests.study.nodes.conftest import TwoNodes

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
def test_a_cluster_is_cut_into_workers(nodes: list[Node], workers: Workers):
    assert allocate_workers(nodes) == workers


@given(st.integers(1, 40), st.integers(1, 16), st.integers(0, 1), st.integers(1, 300_000))
def test_pieces_are_whole_batches_and_enough_for_all(count: int, cpus: int, gpus: int, num_images: int):
    workers = Workers(count, cpus, gpus)
    blocks = workers.split(num_images)
    assert [index for block in blocks for index in (block.start, block.stop)][1:-1:2] == [p.start for p in blocks[1:]]
    assert (blocks[0].start, blocks[-1].stop) == (0, num_images)
    assert {len(block) % workers.batch_size for block in blocks[:-1]} <= {0}
    batches = num_images / workers.batch_size
    assert len(blocks) >= min(batches, BLOCKS_PER_WORKER * count) / 2


@pytest.mark.parametrize(("few", "nodes"), [(FEW_IMAGES, 2), (1, 1)])
def test_little_work_or_one_node_alone_needs_no_ray(
    draw_items: Callable[..., Items], tmp_path: Path, few: int, nodes: int
):
    items = draw_items(3)
    said: list[str] = []
    extractor = ClusterExtractor(nodes=[Node(cpus=1, gpus=0)] * nodes, say=said.append, few=few)
    features = extract(items, tmp_path / "cluster", extractor=extractor)
    np.testing.assert_array_equal(features.values, extract(items, tmp_path / "local").values)
    assert said == []


@pytest.mark.ray
@pytest.mark.timeout(600)
class TestTwoNodes:
    @pytest.fixture
    def said(self) -> list[str]:
        return []

    @pytest.fixture
    def extractor(self, two_nodes: TwoNodes, said: list[str]) -> ClusterExtractor:
        return ClusterExtractor(nodes=two_nodes.nodes, say=said.append, few=1)

    def test_rows_are_those_of_one_process_bit_for_bit(
        self,
        draw_items: Callable[..., Items],
        tmp_path: Path,
        extractor: ClusterExtractor,
        said: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ):
        items = draw_items(NUM_IMAGES)
        damage(items, 5, 70)
        monkeypatch.chdir(items.image_root.parent)
        there = set(tmp_path.iterdir())
        relative = replace(items, image_root=Path("images"))
        seen: list[tuple[int, int]] = []
        cluster = extract(
            relative,
            tmp_path / "cluster",
            extractor=extractor,
            skip_bad_images=True,
            progress=lambda done, total: seen.append((done, total)),
        )
        local = extract(items, tmp_path / "local", skip_bad_images=True)
        np.testing.assert_array_equal(cluster.values, local.values)
        assert cluster.unreadable == local.unreadable
        assert list(cluster.unreadable) == ["5.png", "70.png"]
        assert seen[-1] == (NUM_IMAGES, NUM_IMAGES)
        assert sorted(seen) == seen
        assert digest_in(tmp_path / "cluster") == digest_in(tmp_path / "local")
        assert extract(items, tmp_path / "cluster", skip_bad_images=True).from_cache
        assert said == ["features of 75 images are extracted on 2 workers of 1 CPUs of the cluster"]
        assert set(tmp_path.iterdir()) - there == {tmp_path / "cluster", tmp_path / "local"}

    @pytest.mark.usefixtures("only_the_other")
    def test_a_node_that_does_not_see_the_images_is_sent_them(
        self,
        draw_items: Callable[..., Items],
        tmp_path: Path,
        extractor: ClusterExtractor,
        said: list[str],
        two_nodes: TwoNodes,
    ):
        items = draw_items(NUM_IMAGES, two_nodes.hidden)
        local = extract(items, tmp_path / "local")
        cluster = extract(items, tmp_path / "cluster", extractor=extractor)
        np.testing.assert_array_equal(cluster.values, local.values)
        (line,) = said[1:]
        assert re.fullmatch(r"\S+ does not share .*/images: its images are read here and sent", line)

    @pytest.mark.usefixtures("only_the_other")
    def test_bad_images_are_told_as_in_one_process(
        self, draw_items: Callable[..., Items], tmp_path: Path, extractor: ClusterExtractor, two_nodes: TwoNodes
    ):
        items = draw_items(NUM_IMAGES, two_nodes.hidden)
        damage(items, 3, 40, 41)
        items.image_path(60).unlink()
        with pytest.raises(
            UserError, match=r"4 of 75 images cannot be read, the first is .*/3\.png: .*truncated"
        ) as one:
            extract(items, tmp_path / "local")
        with pytest.raises(UserError, match=f"^{re.escape(str(one.value))}$"):
            extract(items, tmp_path / "cluster", extractor=extractor)
        assert not (tmp_path / "cluster").exists()
