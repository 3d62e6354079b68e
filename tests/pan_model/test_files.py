"""Atomic writes, names of cache entries, new files all or none, and folders that cannot be written."""

import codecs
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import pytest

from pan_model.errors import UserError
from pan_model.files import (
    atomic_cache_write,
    atomic_folder,
    atomic_write,
    check_writable,
    content_key,
    decode_user_text,
    existing_parent,
    write_new_files,
)


def test_written_file_appears_whole_and_is_on_the_disk_before_its_name(tmp_path: Path) -> None:
    path, synced = tmp_path / "new" / "file", list[bytes]()

    def fsync(descriptor: int) -> None:
        assert not path.exists()
        synced.append(os.pread(descriptor, 100, 0))

    with patch.object(os, "fsync", fsync), atomic_write(path) as temporary:
        temporary.write_text("one")
        assert temporary.parent == path.parent
    assert synced == [b"one"]
    assert [file.read_text() for file in path.parent.iterdir()] == ["one"]


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"

    def fail() -> None:
        with atomic_folder(folder) as temporary:
            (temporary / "file").write_text("half")
            raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        fail()
    assert not list(folder.parent.iterdir())
    with atomic_folder(folder) as temporary:
        (temporary / "file").write_text("one")
        assert not folder.exists()
    assert [str(path.relative_to(folder.parent)) for path in folder.parent.rglob("*")] == ["folder", "folder/file"]


def test_folder_that_exists_is_kept(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("old")
    with pytest.raises(OSError, match="not empty"), atomic_folder(tmp_path / "folder"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "file").read_text() == "old"


@pytest.mark.parametrize("make", [atomic_write, atomic_folder])
def test_parent_that_is_a_file(tmp_path: Path, make: Callable[[Path], AbstractContextManager[Path]]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), make(tmp_path / "file" / "a"):
        pytest.fail("must not be entered")


def test_key_tells_contents_apart() -> None:
    contents = [(1,), ("1",), (1, 2), ([1, 2],), ({"a": 1},), ({"a": 2},), ()]
    assert len({content_key(*content) for content in contents}) == len(contents)
    assert content_key("a", 1) == content_key("a", 1)


def test_written_under_its_name_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.npy"
    with atomic_cache_write(path, "images") as temporary:
        temporary.write_text("one")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert [file.read_text() for file in path.parent.iterdir()] == ["one"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("b"), OSError("disk is full")])
def test_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.npy"
    path.write_text("old")

    def write() -> None:
        with atomic_cache_write(path, "images") as temporary:
            temporary.write_text("half")
            raise error

    said = r"images cannot be cached in .* \(disk is full\); give another --cache-dir\."
    with pytest.raises((KeyboardInterrupt, UserError), match=said if isinstance(error, OSError) else "^b?$"):
        write()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def write() -> None:
        with atomic_cache_write(tmp_path / "file" / "a" / "b.npy", "features") as temporary:
            temporary.write_text("never")

    with pytest.raises(UserError, match=r"features cannot be cached in .*--cache-dir"):
        write()


def test_writes_all_files_and_makes_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    write_new_files({folder / "1.txt": "one\n", folder / "2.txt": "zwölf\r\n"})
    assert sorted(path.name for path in folder.iterdir()) == ["1.txt", "2.txt"]
    assert (folder / "1.txt").read_bytes() == b"one\n"
    assert (folder / "2.txt").read_bytes() == "zwölf\r\n".encode()


def test_leaves_what_is_there_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "2.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"2\.txt: already exists; move it away or give another --output\."):
        write_new_files({tmp_path / "1.txt": "one", tmp_path / "2.txt": "two"})
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["mine"]


def test_a_link_to_nowhere_is_there_too(tmp_path: Path) -> None:
    (tmp_path / "1.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"1\.txt: already exists"):
        write_new_files({tmp_path / "1.txt": "one"})


def test_writes_none_where_one_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be written \(File name too long\)"):
        write_new_files({tmp_path / "1.txt": "one", tmp_path / ("x" * 254): "two"})
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_the_users_fault_leaves_nothing_either(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        write_new_files({tmp_path / "1.txt": "one", tmp_path / "2.txt": "\udcff"})
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"file: cannot be written \(File exists\)"):
        write_new_files({tmp_path / "file" / "1.txt": "one"})
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\)"):
        write_new_files({tmp_path / "file" / "more" / "1.txt": "one"})


@pytest.mark.parametrize("folder", ["file", "file/a"])
def test_file_in_the_way(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    rule = rf"features cannot be written to .*/{folder}: .*/file is not a writable folder; give another --here\."
    with pytest.raises(UserError, match=rule):
        check_writable(tmp_path / folder, "features", "--here")


def test_folder_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "not" / "yet", "features")
    assert not list(tmp_path.iterdir())


def test_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert existing_parent(tmp_path) == tmp_path
    assert existing_parent(tmp_path / "not" / "yet") == tmp_path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_text_of_a_user_may_have_a_mark_and_any_line_ends(mark: bytes, end: str):
    assert decode_user_text(mark + f"Düne{end}{end}b{end}".encode()) == "Düne\n\nb\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a = 1".encode("utf-16"),
            r"expected UTF-8 text, got UTF-16, which PowerShell's > writes; save it",
        ),
        ("a = 1".encode("utf-16-be"), r"expected UTF-8 text, got UTF-16"),
        ("a\r\nb\rDüne".encode("latin-1"), r"expected UTF-8 text, got b'\\xfc' in line 3; save"),
    ],
)
def test_text_of_a_user_in_another_encoding_is_refused(content: bytes, message: str):
    with pytest.raises(UserError, match=message):
        decode_user_text(content)
