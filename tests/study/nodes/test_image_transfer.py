"""Images reach a node that does not see the cache once, whole, whatever happens on the way."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.backbones.architectures import build_backbone
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.decoded_cache import DecodedImages, load_decoded_images
from pan_model.training.finetune_start import FinetuneStart
from study.nodes import image_transfer as node_images
from study.nodes.file_server import Chunk, FileServer, file_server
from study.nodes.image_transfer import images_on_this_node, start_on_this_node
from tests.study.nodes.conftest import TwoNodes

SIZE = 32
NUM_ITEMS = 12


@pytest.fixture
def images(draw_items: Callable[..., Items], tmp_path: Path) -> DecodedImages:
    return load_decoded_images(draw_items(NUM_ITEMS), "sha256:0", SIZE, tmp_path / "cache")


def everything(images: DecodedImages) -> np.ndarray:
    return images.read(np.arange(len(images)))


def test_a_node_that_sees_the_images_asks_nobody(images: DecodedImages, tmp_path: Path):
    assert images_on_this_node(images, None, tmp_path / "own") is images
    assert not (tmp_path / "own").exists()


def test_a_copy_of_an_earlier_study_counts(images: DecodedImages, tmp_path: Path):
    kept = tmp_path / "own" / "pictures" / images.path.name
    kept.parent.mkdir(parents=True)
    shutil.copyfile(images.path, kept)
    hidden = replace(images, path=tmp_path / "hidden" / images.path.name)
    found = images_on_this_node(hidden, None, tmp_path / "own")
    assert found.path == kept
    np.testing.assert_array_equal(everything(found), everything(images))


def test_a_file_that_is_cut_short_does_not_count(images: DecodedImages):
    assert images.is_stored
    images.path.write_bytes(images.path.read_bytes()[:-1])
    assert not replace(images).is_stored


def test_the_first_folder_with_room_is_taken(images: DecodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "blocked").write_text("a file")
    copies = [replace(images, path=tmp_path / name / "pictures" / "p.npy") for name in ("blocked", "own")]
    fetched: list[Path] = []
    assert node_images._first_with_room(copies, 1000, fetched.append) is copies[1]
    assert fetched == [copies[1].path]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5e8))
    with pytest.raises(
        UserError,
        match=r"^images cannot be copied to node \S+: they take 2\.5 GB, \S+ cannot be written, \S+ has 0\.5 GB",
    ):
        node_images._first_with_room(copies, 2_500_000_000, fetched.append)


def test_what_another_trial_has_fetched_meanwhile_needs_no_room(
    images: DecodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    other = replace(images, path=tmp_path / "other" / images.path.name)
    assert node_images._first_with_room([images, other], 1000, lambda _: None) is images


def test_a_desk_reads_files_and_pieces_and_tells_what_stands_in_the_way(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"0123456789")
    server = FileServer()
    content, missing = server.read_files([str(tmp_path / "a"), str(tmp_path / "b")])
    assert content == b"0123456789"
    assert isinstance(missing, FileNotFoundError)
    assert (server.size_of(str(tmp_path / "a")), server.size_of(str(tmp_path / "b"))) == (10, 0)
    piece = server.read_chunk(str(tmp_path / "a"), 4, 3)
    assert isinstance(piece, Chunk)
    assert (piece.content.tobytes(), piece.is_intact) == (b"456", True)
    assert not Chunk(piece.content + 1, piece.checksum).is_intact
    assert isinstance(server.read_chunk(str(tmp_path / "b"), 0, 3), FileNotFoundError)


@pytest.mark.ray
@pytest.mark.timeout(600)
class TestTwoNodes:
    def test_a_node_fetches_images_once_for_all_trials(self, draw_items: Callable[..., Items], two_nodes: TwoNodes):
        cache = two_nodes.hidden / "cache"
        images = load_decoded_images(draw_items(NUM_ITEMS), "sha256:0", SIZE, cache)
        start = FinetuneStart(backbone=build_backbone("shufflenet_v2_x0_5"), images=images)
        with file_server() as server:
            there = NodeAffinitySchedulingStrategy(two_nodes.other, soft=False)
            trial = ray.remote(num_cpus=0.25, scheduling_strategy=there)(open_start)
            seen = ray.get([trial.remote(ray.put(start), server) for _ in range(4)])
            assert start_on_this_node(start, server).images is images
        for path, inode, rows, folder in seen:
            assert path == images.path
            np.testing.assert_array_equal(rows, everything(images))
            assert sorted(folder) == sorted([images.path.name, images.path.with_suffix(".lock").name])
            assert inode == seen[0][1] != images.path.stat().st_ino

    def test_a_file_arrives_whole_or_not_at_all(
        self, images: DecodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_nodes: TwoNodes
    ):
        monkeypatch.setattr(node_images, "CHUNK_BYTES", 1000)
        size = images.path.stat().st_size
        assert size % 1000 > 0
        copy = tmp_path / "copy" / images.path.name
        copy.parent.mkdir()
        copy.with_suffix(".dead.tmp").touch()
        with file_server() as server:
            node_images._fetch(images.path, copy, size, server)
            assert copy.read_bytes() == images.path.read_bytes()
            copy.unlink()
            with pytest.raises(UserError, match=rf"has changed: of {size + 10} bytes {size} came"):
                node_images._fetch(images.path, copy, size + 10, server)
            images.path.unlink()
            with pytest.raises(UserError, match=r"^images cannot be cached in \S+ \(.*No such file.*$"):
                node_images._fetch(images.path, copy, size, server)
            with pytest.raises(UserError, match="no longer holds the images"):
                images_on_this_node(images, server, tmp_path / "own")
        assert list(copy.parent.iterdir()) == []


def open_start(start: FinetuneStart, server: Any) -> tuple[Path, int, np.ndarray, list[str]]:
    """What a trial of a node sees: where its images are, which file that is, what is in it and beside it."""
    images = start_on_this_node(start, server).images
    folder = [file.name for file in images.path.parent.iterdir()]
    return images.path, images.path.stat().st_ino, everything(images), folder
