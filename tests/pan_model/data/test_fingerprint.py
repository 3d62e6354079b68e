"""The fingerprint follows the contents, never the place."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from pan_model.data.cub import read_cub
from pan_model.data.demo import DemoConfig, draw_demo
from pan_model.data.fingerprint import ImageKind, fingerprint, read_contents
from pan_model.data.items import Items
from pan_model.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_demo(tmp_path / "demo", DemoConfig(num_classes=8, images_per_class=2, image_size=16))
    return tmp_path / "demo"


def flip_first(table: np.ndarray) -> np.ndarray:
    changed = table.copy()
    changed.flat[0] = not changed.flat[0]
    return changed


CHANGES: dict[str, Callable[[Items], Items]] = {
    "an attribute": lambda items: replace(items, attributes=flip_first(items.attributes)),
    "a certainty": lambda items: replace(items, certainty=flip_first(items.certainty)),
    "a class": lambda items: replace(items, classes=flip_first(items.classes)),
    "a class name": lambda items: replace(items, class_names=("999.New", *items.class_names[1:])),
    "an attribute name": lambda items: replace(items, attribute_names=("has_new::yes", *items.attribute_names[1:])),
    "an item less": lambda items: items.select(np.arange(len(items)) > 0, "told to"),
}


def test_is_a_sha256(folder: Path) -> None:
    kind, _, digits = fingerprint(read_cub(folder)).partition(":")
    assert kind == "sha256"
    assert len(bytes.fromhex(digits)) == 32


def test_does_not_depend_on_the_place(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    monkeypatch.chdir(tmp_path)
    prints = {fingerprint(read_cub(place)) for place in (folder, tmp_path / "elsewhere" / "copy", Path("demo"))}
    assert len(prints) == 1


@pytest.mark.parametrize("change", CHANGES)
def test_changes_with(folder: Path, change: str) -> None:
    items = read_cub(folder)
    assert fingerprint(CHANGES[change](items)) != fingerprint(items)


def test_changes_with_the_bytes_of_an_image(folder: Path) -> None:
    items = read_cub(folder)
    before = fingerprint(items)
    with items.image_path(len(items) - 1).open("ab") as file:
        file.write(b"\0")
    assert fingerprint(items) != before


def test_changes_when_two_images_change_places(folder: Path) -> None:
    items = read_cub(folder)
    before = fingerprint(items)
    first, second = items.image_path(0), items.image_path(1)
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    assert fingerprint(items) != before


def test_names_an_image_that_cannot_be_read(folder: Path) -> None:
    items = read_cub(folder)
    items.image_path(3).unlink()
    with pytest.raises(UserError, match=rf"{items.image_names[3]}: cannot be read \(No such file or directory\)"):
        fingerprint(items)


def save_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (8, 4)).save(path, exif=exif)


KINDS: dict[str, tuple[Callable[[Path], None], tuple[ImageKind, ...]]] = {
    "turned": (save_turned, (ImageKind.TURNED,)),
    "transparent": (lambda path: Image.new("RGBA", (8, 4), (1, 2, 3, 4)).save(path), (ImageKind.TRANSPARENT,)),
    "opaque": (lambda path: Image.new("RGBA", (8, 4), (1, 2, 3, 255)).save(path), ()),
    "16 bits": (lambda path: Image.new("I;16", (8, 4), 700).save(path, transparency=3), (ImageKind.DEEP,)),
    "frames": (
        lambda path: Image.new("L", (8, 4)).save(path, "TIFF", save_all=True, append_images=[Image.new("L", (8, 4))]),
        (ImageKind.FRAMES,),
    ),
    "plain": (lambda path: Image.new("RGB", (8, 4)).save(path), ()),
    "no image": (lambda path: path.write_text("text") and None, ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_found_and_remembered(folder: Path, tmp_path: Path, kind: str) -> None:
    items = read_cub(folder)
    save, expected = KINDS[kind]
    save(items.image_path(3))
    first, second = (read_contents(items, tmp_path / "cache", clock=later) for _ in range(2))
    assert first == second
    assert [kinds for kinds in first.kinds if kinds] == ([expected] if expected else [])
    assert first.kinds[3] == expected


@pytest.mark.parametrize(
    ("kind", "is_changed"),
    [("turned", True), ("transparent", True), ("16 bits", True)]
    + [(kind, False) for kind in ("opaque", "frames", "plain", "no image")],
)
def test_fingerprint_of_images_that_were_decoded_otherwise_differs_from_that_of_earlier_versions(
    folder: Path, kind: str, is_changed: bool
) -> None:
    items = read_cub(folder)
    KINDS[kind][0](items.image_path(3))
    fields = [
        json.dumps([items.class_names, items.image_names, items.attribute_names]).encode(),
        items.classes.astype("<i8").tobytes(),
        items.attributes.astype(np.uint8).tobytes(),
        items.certainty.tobytes(),
        *(hashlib.sha256(items.image_path(index).read_bytes()).digest() for index in range(len(items))),
    ]
    before = hashlib.sha256(b"".join(len(field).to_bytes(8, "little") + field for field in fields)).hexdigest()
    assert (fingerprint(items) != f"sha256:{before}") == is_changed


LATER = 3600 * 10**9  # ns


def later() -> int:
    """A time at which no file of a test was changed just now."""
    return time.time_ns() + LATER


@pytest.fixture
def images_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the image files opened from now on."""
    opened: list[str] = []
    path_open = Path.open

    def watched(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.suffix == ".png":
            opened.append(path.name)
        return path_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", watched)
    return opened


class TestRememberedHashes:
    def test_second_call_reads_no_image(self, folder: Path, tmp_path: Path, images_read: list[str]) -> None:
        items = read_cub(folder)
        expected = fingerprint(items)
        images_read.clear()
        assert fingerprint(items, tmp_path / "cache", clock=later) == expected
        assert len(images_read) == len(items)
        images_read.clear()
        assert fingerprint(items, tmp_path / "cache", clock=later) == expected
        assert images_read == []

    def test_fewer_items_do_not_forget_the_others(self, folder: Path, tmp_path: Path, images_read: list[str]) -> None:
        items = read_cub(folder)
        fingerprint(items, tmp_path / "cache", clock=later)
        fingerprint(items.select(np.arange(len(items)) > 0, "told to"), tmp_path / "cache", clock=later)
        images_read.clear()
        fingerprint(items, tmp_path / "cache", clock=later)
        assert images_read == []

    @pytest.mark.parametrize("modified", ["at another time", "at the same time"])
    def test_changed_bytes_of_the_same_size_are_seen(
        self, folder: Path, tmp_path: Path, images_read: list[str], modified: str
    ) -> None:
        items = read_cub(folder)
        path = items.image_path(3)
        before, stat = fingerprint(items, tmp_path / "cache", clock=later), path.stat()
        time.sleep(0.02)  # more than a tick of the file system's clock
        path.write_bytes(bytes(stat.st_size))
        if modified == "at the same time":
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        images_read.clear()
        after = fingerprint(items, tmp_path / "cache", clock=later)
        assert images_read == [path.name]
        assert after == fingerprint(items) != before

    def test_files_changed_just_now_are_not_remembered(
        self, folder: Path, tmp_path: Path, images_read: list[str]
    ) -> None:
        items = read_cub(folder)
        for _ in range(2):
            images_read.clear()
            fingerprint(items, tmp_path / "cache")
            assert len(images_read) == len(items)

    @pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"{}", b"0\n{}"])
    def test_damaged_table_is_ignored_and_written_again(
        self, folder: Path, tmp_path: Path, images_read: list[str], damage: bytes
    ) -> None:
        items = read_cub(folder)
        expected = fingerprint(items, tmp_path / "cache", clock=later)
        (table,) = (tmp_path / "cache" / "fingerprints").iterdir()
        whole = table.read_bytes()
        table.write_bytes(damage)
        assert fingerprint(items, tmp_path / "cache", clock=later) == expected
        assert table.read_bytes() == whole

    def test_flipped_digit_in_the_table_is_not_believed(self, folder: Path, tmp_path: Path) -> None:
        items = read_cub(folder)
        expected = fingerprint(items, tmp_path / "cache", clock=later)
        (table,) = (tmp_path / "cache" / "fingerprints").iterdir()
        content = table.read_text()
        table.write_text(content[:-4] + ("0" if content[-4] != "0" else "1") + content[-3:])
        assert fingerprint(items, tmp_path / "cache", clock=later) == expected

    def test_cache_that_cannot_be_written_is_ignored(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "cache").touch()
        items = read_cub(folder)
        assert fingerprint(items, tmp_path / "cache", clock=later) == fingerprint(items)
