"""Images reach a node that cannot read the cache once and complete, whatever happens in transfer."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.decoded_cache import DecodedImages, load_decoded_images
from study.nodes import image_transfer
from study.nodes.file_server import Chunk, FileServer
from study.nodes.image_transfer import images_on_this_node

SIZE = 32
NUM_ITEMS = 12


@pytest.fixture
def images(draw_items: Callable[..., Items], tmp_path: Path) -> DecodedImages:
    return load_decoded_images(draw_items(NUM_ITEMS), "sha256:0", SIZE, tmp_path / "cache")


def everything(images: DecodedImages) -> np.ndarray:
    return images.read(np.arange(len(images)))


def test_a_node_that_can_read_the_images_copies_none(images: DecodedImages, tmp_path: Path):
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


def test_a_truncated_file_does_not_count(images: DecodedImages):
    assert images.is_stored
    images.path.write_bytes(images.path.read_bytes()[:-1])
    assert not replace(images).is_stored


def test_the_first_folder_with_room_is_taken(images: DecodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "blocked").write_text("a file")
    copies = [replace(images, path=tmp_path / name / "pictures" / "p.npy") for name in ("blocked", "own")]
    fetched: list[Path] = []
    assert image_transfer._first_with_room(copies, 1000, fetched.append) is copies[1]
    assert fetched == [copies[1].path]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5e8))
    with pytest.raises(
        UserError,
        match=r"^images cannot be copied to node \S+: they take 2\.5 GB, \S+ cannot be written, \S+ has 0\.5 GB",
    ):
        image_transfer._first_with_room(copies, 2_500_000_000, fetched.append)


def test_a_copy_that_another_trial_fetched_meanwhile_needs_no_room(
    images: DecodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    other = replace(images, path=tmp_path / "other" / images.path.name)
    assert image_transfer._first_with_room([images, other], 1000, lambda _: None) is images


def test_a_server_reads_files_and_chunks_and_returns_errors(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"0123456789")
    server = FileServer()
    content, missing = server.read_files([str(tmp_path / "a"), str(tmp_path / "b")])
    assert content == b"0123456789"
    assert isinstance(missing, FileNotFoundError)
    assert (server.size_of(str(tmp_path / "a")), server.size_of(str(tmp_path / "b"))) == (10, 0)
    chunk = server.read_chunk(str(tmp_path / "a"), 4, 3)
    assert isinstance(chunk, Chunk)
    assert (chunk.content.tobytes(), chunk.is_intact) == (b"456", True)
    assert not Chunk(chunk.content + 1, chunk.checksum).is_intact
    assert isinstance(server.read_chunk(str(tmp_path / "b"), 0, 3), FileNotFoundError)


def test_a_file_arrives_whole_or_not_at_all(
    images: DecodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_server: Any
):
    monkeypatch.setattr(image_transfer, "CHUNK_BYTES", 1000)
    size = images.path.stat().st_size
    assert size % 1000 > 0
    copy = tmp_path / "copy" / images.path.name
    copy.parent.mkdir()
    copy.with_suffix(".dead.tmp").touch()
    image_transfer._fetch(images.path, copy, size, local_server)
    assert copy.read_bytes() == images.path.read_bytes()
    copy.unlink()
    with pytest.raises(UserError, match=rf"has changed: expected {size + 10} bytes, received {size}"):
        image_transfer._fetch(images.path, copy, size + 10, local_server)
    images.path.unlink()
    with pytest.raises(UserError, match=r"^images cannot be cached in \S+ \(.*No such file.*$"):
        image_transfer._fetch(images.path, copy, size, local_server)
    with pytest.raises(UserError, match="no longer holds the cached images"):
        images_on_this_node(images, local_server, tmp_path / "own")
    assert list(copy.parent.iterdir()) == []


def test_a_damaged_chunk_is_not_kept(images: DecodedImages, tmp_path: Path, local_server: Any):
    intact = local_server.read_chunk.remote
    local_server.read_chunk.remote = lambda *given: intact(*given)._replace(checksum=0)
    copy = tmp_path / "copy" / images.path.name
    copy.parent.mkdir()
    with pytest.raises(UserError, match="the chunk at byte 0 was damaged in transfer"):
        image_transfer._fetch(images.path, copy, images.path.stat().st_size, local_server)
    assert list(copy.parent.iterdir()) == []


def test_trials_of_a_node_fetch_images_once(images: DecodedImages, tmp_path: Path, local_server: Any):
    requests: list[int] = []
    hidden = replace(images, path=tmp_path / "hidden" / images.path.name)
    served = SimpleNamespace(
        size_of=SimpleNamespace(remote=lambda _: local_server.size_of.remote(str(images.path))),
        read_chunk=SimpleNamespace(
            remote=lambda _, *chunk: requests.append(0) or local_server.read_chunk.remote(str(images.path), *chunk)
        ),
    )
    with ThreadPoolExecutor(4) as trials:
        copies = list(trials.map(lambda _: images_on_this_node(replace(hidden), served, tmp_path / "own"), range(4)))
    assert len(requests) == 1
    for copy in copies:
        assert copy.path == hidden.path
        np.testing.assert_array_equal(everything(copy), everything(images))
