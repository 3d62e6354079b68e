"""Pictures reach a node that does not see the cache once, whole, whatever happens on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.backbones import build_backbone
from pan_model.data.items import Items
from pan_model.finetune_start import FinetuneStart
from pan_model.pictures import Pictures, load_pictures
from study.file_desk import file_desk
from study.node_pictures import start_on_this_node
from tests.study.cluster.conftest import TwoNodes

SIZE = 32
NUM_ITEMS = 12


@pytest.fixture
def pictures(draw_items: Callable[..., Items], tmp_path: Path) -> Pictures:
    return load_pictures(draw_items(NUM_ITEMS), "sha256:0", SIZE, tmp_path / "cache")


def everything(pictures: Pictures) -> np.ndarray:
    return pictures.read(np.arange(len(pictures)))


@pytest.mark.ray
@pytest.mark.timeout(600)
class TestTwoNodes:
    def test_a_node_fetches_pictures_once_for_all_trials(
        self, draw_items: Callable[..., Items], two_nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        cache = two_nodes.hidden / "cache"
        pictures = load_pictures(draw_items(NUM_ITEMS), "sha256:0", SIZE, cache)
        start = FinetuneStart(backbone=build_backbone("shufflenet_v2_x0_5"), pictures=pictures)
        with file_desk() as desk:
            there = NodeAffinitySchedulingStrategy(two_nodes.other, soft=False)
            trial = ray.remote(num_cpus=0.25, scheduling_strategy=there)(open_start)
            seen = ray.get([trial.remote(ray.put(start), desk) for _ in range(4)])
            assert start_on_this_node(start, desk) == start or start_on_this_node(start, desk).pictures is pictures
        for path, inode, rows, folder in seen:
            assert path == pictures.path
            np.testing.assert_array_equal(rows, everything(pictures))
            assert sorted(folder) == sorted([pictures.path.name, pictures.path.with_suffix(".lock").name])
            assert inode == seen[0][1] != pictures.path.stat().st_ino


def open_start(start: FinetuneStart, desk: Any) -> tuple[Path, int, np.ndarray, list[str]]:
    """What a trial of a node sees: where its pictures are, which file that is, what is in it and beside it."""
    pictures = start_on_this_node(start, desk).pictures
    folder = [file.name for file in pictures.path.parent.iterdir()]
    return pictures.path, pictures.path.stat().st_ino, everything(pictures), folder
