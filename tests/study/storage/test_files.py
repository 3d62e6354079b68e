import json
import math
import secrets
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from pan_model.errors import UserError
from study.storage.files import read_json, storage_of, write_file, write_json, write_text


def test_writes_make_folders_and_leave_nothing_but_the_file(tmp_path: Path):
    path = tmp_path / "a" / "b" / "file.json"
    for value in ({"x": 1}, {"x": 2}):
        write_json(path, value)
        assert read_json(path, "") == value
        assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]


def test_text_is_written_as_it_is(tmp_path: Path):
    write_text(tmp_path / "text", "ä\r\nb\n")
    assert (tmp_path / "text").read_bytes() == "ä\r\nb\n".encode()


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path):
    path = tmp_path / "file"
    write_text(path, "old")

    def write(temporary: Path) -> None:
        temporary.write_text("ne", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
        temporary.write_text("new", encoding="utf-8")

    write_file(path, write)
    assert path.read_text(encoding="utf-8") == "new"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(OSError, match="no space left"):
        write_file(path, _fill_the_disk)
    assert path.read_text(encoding="utf-8") == "old"


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path: Path):
    with pytest.raises(OSError, match="no space left"):
        write_file(tmp_path / "file", _fill_the_disk)
    assert list(tmp_path.iterdir()) == []


def _fill_the_disk(temporary: Path) -> None:
    temporary.write_text("ne", encoding="utf-8")
    raise OSError("no space left")


@settings(max_examples=30)
@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text())
def test_json_reads_back_exactly(tmp_path_factory: pytest.TempPathFactory, value: float | int | str):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, {"value": value})
    back = read_json(path, "")["value"]
    assert back == value
    assert type(back) is type(value)
    assert not isinstance(value, float) or math.copysign(1, back) == math.copysign(1, value)


def test_two_writers_of_a_file_do_not_disturb_each_other(tmp_path: Path):
    def write(temporary: Path) -> None:
        temporary.write_text("mine")
        write_text(tmp_path / "file", "the other's")

    write_file(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_times_of_files_in_folders_are_told(tmp_path: Path):
    for root in (tmp_path, UPath(f"memory://{secrets.token_hex(4)}")):
        before_s = time.time() - 1
        for name in ("a/one", "a/two", "a/deep/one", "b/one", "one"):
            write_text(root / name, "")
        ones, twos = storage_of(root).times_in_subfolders(root, "one", "two")
        assert (set(ones), set(twos)) == ({"a", "b"}, {"a"})
        assert all(before_s < time_s < before_s + 100 for time_s in (*ones.values(), *twos.values()))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_is_no_number(tmp_path: Path, value: float):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"/best\.json: cannot be read \(No such file or directory\); make it anew\."):
        read_json(tmp_path / "best.json", "make it anew")


def test_a_folder_is_no_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\); make it anew\."):
        read_json(tmp_path, "make it anew")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe", json.dumps([1]).encode()[:-1]])
def test_a_file_that_is_not_json_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "best.json").write_bytes(content)
    with pytest.raises(UserError, match=r"/best\.json: is not JSON \(.+\); make it anew\."):
        read_json(tmp_path / "best.json", "make it anew")
