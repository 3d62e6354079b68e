"""Images: what load_image reads, decoded once, mapped by every process, refused where they cannot be had."""

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.decoded_cache import DecodedImages, cache_path, load_decoded_images
from pan_model.images.decoding import load_image, load_square, normalise
from pan_model.images.preprocessing import Preprocessing

FINGERPRINT = "sha256:" + "0" * 64
SIZE = 32
LEVEL = 1 / 255 / 0.224  # one step of a colour after normalisation
NUM_ITEMS = 20


@pytest.fixture
def items(draw_items: Callable[..., Items]) -> Items:
    return draw_items(NUM_ITEMS)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def load(items: Items, cache_dir: Path, size: int = SIZE, **options: object) -> DecodedImages:
    return load_decoded_images(items, FINGERPRINT, size, cache_dir, **options)


def files(cache_dir: Path) -> list[Path]:
    return sorted(path for path in cache_dir.rglob("*") if path.is_file())


@pytest.mark.parametrize("image_size", [1, 4, 31, 32, 224])
def test_centre_of_a_square_is_what_load_image_reads(draw_items: Callable[..., Items], image_size: int) -> None:
    items = draw_items(4, sizes=((60, 41), (41, 60), (50, 50), (300, 227)))
    start = Preprocessing.usual(image_size).border
    for index in range(len(items)):
        square = load_square(items.image_path(index), image_size)
        assert square.shape == (
            Preprocessing.usual(image_size).resize_size,
            Preprocessing.usual(image_size).resize_size,
            3,
        )
        cut = torch.from_numpy(square[start : start + image_size, start : start + image_size].transpose(2, 0, 1).copy())
        difference = (normalise(cut[None])[0] - load_image(items.image_path(index), image_size)).abs() / LEVEL
        assert difference.max() < 2.1  # where a sum ends at half a level, either pass may round differently
        assert difference.mean() < 0.1


def test_rows_are_the_squares_of_the_items(items: Items, cache_dir: Path) -> None:
    images = load(items, cache_dir)
    assert len(images) == NUM_ITEMS
    assert images.side == Preprocessing.usual(SIZE).resize_size == 37
    indices = np.array([17, 3, 3, 0])
    read = images.read(indices)
    assert read.dtype == np.uint8
    assert read.shape == (4, 37, 37, 3)
    for row, index in zip(read, indices, strict=True):
        np.testing.assert_array_equal(row, load_square(items.image_path(int(index)), SIZE))
    read[:] = 0  # a copy
    assert images.read(indices).any()


def test_found_from_another_folder(items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = load(items, Path("cache"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert images.read(np.array([0])).any()


def test_decoded_once(items: Items, cache_dir: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = load(items, cache_dir, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(16, 20), (20, 20)]
    shutil.rmtree(items.image_root)
    second = load(items, cache_dir, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 2
    everything = np.arange(NUM_ITEMS)
    np.testing.assert_array_equal(first.read(everything), second.read(everything))
    assert files(cache_dir) == [first.path]


def test_cache_is_keyed_by_all_that_images_depend_on(items: Items, cache_dir: Path) -> None:
    fewer = items.select(np.arange(NUM_ITEMS) > 0, "first")
    paths = {
        cache_path(cache_dir, items, FINGERPRINT, SIZE),
        cache_path(cache_dir, fewer, FINGERPRINT, SIZE),
        cache_path(cache_dir, items, "sha256:1", SIZE),
        cache_path(cache_dir, items, FINGERPRINT, SIZE + 1),
    }
    assert len(paths) == 4
    assert {path.parent for path in paths} == {cache_dir / "pictures"}


def test_select_numbers_as_items_do(items: Items, cache_dir: Path) -> None:
    images = load(items, cache_dir)
    keep = np.arange(NUM_ITEMS) % 3 != 0
    again = np.arange(keep.sum()) % 2 == 0
    chosen = images.select(keep).select(again)
    names = items.select(keep, "third").select(again, "second").image_names
    assert len(chosen) == len(names)
    for index, name in enumerate(names):
        expected = load_square(items.image_root / name, SIZE)
        np.testing.assert_array_equal(chosen.read(np.array([index]))[0], expected)


def test_only_path_and_sizes_travel(items: Items, cache_dir: Path) -> None:
    images = load(items, cache_dir)
    expected = images.read(np.arange(NUM_ITEMS))
    sent = pickle.dumps(images)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).read(np.arange(NUM_ITEMS)), expected)


@pytest.mark.parametrize("harm", ["empty", "truncated", "garbage", "other type"])
def test_damaged_file_is_made_again(items: Items, cache_dir: Path, harm: str) -> None:
    path = load(items, cache_dir).path
    expected = path.read_bytes()
    if harm == "other type":
        np.save(path, np.zeros((NUM_ITEMS, 37, 37, 3), dtype=np.int8))
    else:
        path.write_bytes({"empty": b"", "truncated": expected[:-1], "garbage": b"\xff" * 300}[harm])
    load(items, cache_dir)
    assert path.read_bytes() == expected


def test_file_that_went_is_an_error_of_one_line(items: Items, cache_dir: Path) -> None:
    images = load(items, cache_dir)
    images.path.unlink()
    with pytest.raises(UserError, match=r"\.npy: no longer holds the cached images; run the command again\.$"):
        images.read(np.array([0]))


def test_unreadable_images_are_refused_and_no_file_stays(items: Items, cache_dir: Path) -> None:
    items.image_path(3).write_bytes(items.image_path(3).read_bytes()[:200])
    items.image_path(18).unlink()
    with pytest.raises(
        UserError, match=r"2 of 20 images cannot be read, the first is .*/3\.png: .*truncated.*--skip-bad-images\.$"
    ):
        load(items, cache_dir)
    assert files(cache_dir) == []
    keep = ~np.isin(np.arange(NUM_ITEMS), (3, 18))
    assert len(load(items.select(keep, "unreadable image"), cache_dir)) == 18


def test_cache_dir_that_is_a_file(items: Items, cache_dir: Path) -> None:
    cache_dir.write_text("a file")
    with pytest.raises(UserError, match=r"images cannot be written to .*is not a writable folder.*--cache-dir"):
        load(items, cache_dir)


def test_disk_that_is_too_small(items: Items, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(items.image_root)._replace(free=1000)
    monkeypatch.setattr("pan_model.files.shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        UserError, match=r"images cannot be cached in .*: they take 82 KB, 1 KB are free; .*--image-size"
    ):
        load(items, cache_dir)
    assert not cache_dir.exists()


def test_image_size_below_one(items: Items, cache_dir: Path) -> None:
    with pytest.raises(UserError, match=re.escape("image_size must be at least 1 px, got 0.")):
        load(items, cache_dir, 0)


def test_interruption_leaves_no_file(items: Items, cache_dir: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        load(items, cache_dir, progress=interrupt)
    assert files(cache_dir) == []
