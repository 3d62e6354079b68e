"""What every storage does: the same tests on a folder of this machine and on a prefix of a store."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from study.storage.files import Storage, append_line, copy_all, exists, read_if_exists, remove, storage_of, write_text
from study.storage.local_storage import LocalStorage
from study.storage.location import Location
from study.storage.object_store import ObjectStorage


@pytest.fixture
def storage(anywhere: Location) -> Storage[Any]:
    return storage_of(anywhere)


def fill(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        (folder / name).write_text(content)


def test_the_location_decides_on_the_storage(tmp_path: Path) -> None:
    assert isinstance(storage_of(tmp_path), LocalStorage)
    assert isinstance(storage_of(UPath("memory://bucket/a")), ObjectStorage)


def test_a_file_is_written_read_replaced_and_removed(anywhere: Location) -> None:
    file = anywhere / "a" / "b" / "file"
    assert not exists(file)
    assert read_if_exists(file, "") is None
    for content in ("old", "n\u00e9w\r\n"):
        write_text(file, content)
        assert read_if_exists(file, "") == content.encode()
    assert exists(file)
    assert exists(anywhere / "a")
    for _ in range(2):
        remove(file)
    assert not exists(file)


def test_a_write_that_fails_leaves_the_old_file_alone(anywhere: Location, storage: Storage[Any]) -> None:
    def fail(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError("no space left")

    write_text(anywhere / "file", "old")
    with pytest.raises(OSError, match="no space left"):
        storage.write(anywhere / "file", fail)
    assert storage.read(anywhere / "file") == b"old"
    assert storage.list_below(anywhere) == [anywhere / "file"]


def test_lines_are_appended(anywhere: Location, storage: Storage[Any]) -> None:
    write_text(anywhere / "other", "")
    for line in ("one\n", "two\n"):
        append_line(anywhere / "lines", line)
    assert storage.read(anywhere / "lines") == b"one\ntwo\n"


def test_a_file_is_opened_or_does_not_exist(anywhere: Location, storage: Storage[Any]) -> None:
    write_text(anywhere / "file", "content")
    with storage.open(anywhere / "file") as file, storage.open(anywhere / "none") as none:
        assert file is not None
        assert (file.read(3), file.read()) == (b"con", b"tent")
        assert none is None


def test_folders_are_listed_at_each_depth(anywhere: Location, storage: Storage[Any]) -> None:
    assert storage.list_folder(anywhere / "nothing") == []
    assert storage.list_below(anywhere / "nothing") == []
    for name in ("b/x", "a/x", "a/y", "a/deep/x", "x"):
        write_text(anywhere / name, "")
    assert storage.list_folder(anywhere) == [anywhere / "a", anywhere / "b", anywhere / "x"]
    assert {*storage.list_below(anywhere)} == {anywhere / name for name in ("b/x", "a/x", "a/y", "a/deep/x", "x")}
    assert {*storage.find_in_subfolders(anywhere, "x")} == {anywhere / "a" / "x", anywhere / "b" / "x"}
    times, none = storage.times_in_subfolders(anywhere, "x", "z")
    assert ({*times}, none) == ({"a", "b"}, {})


def test_what_is_prefetched_is_what_is_read(anywhere: Location, storage: Storage[Any]) -> None:
    write_text(anywhere / "file", "content")
    for path, content in storage.prefetch([anywhere / "file", anywhere / "none"]).items():
        assert content == storage.read(path)
    assert storage.prefetch([]) == {}


def test_a_folder_becomes_whole_with_its_last_file(anywhere: Location, storage: Storage[Any]) -> None:
    storage.write_folder(anywhere / "final", partial(fill, model="m", metrics="n", card="c"), last="metrics")
    files = {path.name: storage.read(path) for path in storage.list_below(anywhere / "final")}
    assert files == {"model": b"m", "metrics": b"n", "card": b"c"}


def test_a_folder_that_fails_leaves_nothing(anywhere: Location, storage: Storage[Any]) -> None:
    def fail(folder: Path) -> None:
        fill(folder, model="m")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        storage.write_folder(anywhere / "final", fail, last="metrics")
    assert storage.list_below(anywhere) == []


def test_copies_on_disk_have_the_same_content(anywhere: Location, storage: Storage[Any], tmp_path: Path) -> None:
    for content in ("old", "new"):
        write_text(anywhere / "weights.pt", content)
        copy = storage.copy_to_disk(anywhere / "weights.pt", tmp_path / "cache")
        assert copy.read_text() == content
    copy_all({anywhere / "weights.pt": tmp_path / "copy" / "w", anywhere / "gone": tmp_path / "copy" / "g"})
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["w"]


def test_checking_that_a_folder_is_writable_leaves_nothing(anywhere: Location, storage: Storage[Any]) -> None:
    storage.check_writable(anywhere / "results", "the study", "--output", probe=".x")
    assert storage.list_below(anywhere) == []


def test_unfinished_files_of_dead_processes_are_removed(anywhere: Location, storage: Storage[Any]) -> None:
    write_text(anywhere / "file", "whole")
    if isinstance(storage, LocalStorage):
        write_text(anywhere / ".file.123", "unfin")
    storage.remove_unfinished(anywhere / "file")
    assert storage.list_below(anywhere) == [anywhere / "file"]
