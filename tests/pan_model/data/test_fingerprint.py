"""The fingerprint follows the contents, never the place."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pan_model.data.cub import read_cub
from pan_model.data.demo import DemoConfig, draw_demo
from pan_model.data.fingerprint import fingerprint
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
