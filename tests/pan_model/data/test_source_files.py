"""Source files of datasets: lines, JSON and image paths, each error in one line that names the place."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from pan_model.data.source_files import (
    as_list,
    as_object,
    as_text,
    bad_line,
    bad_value,
    is_hidden,
    read_json,
    read_lines,
    require_images,
    stays_inside,
)
from pan_model.errors import UserError


def test_lines_are_stripped_and_keep_their_numbers_where_blank_ones_are_passed_over(tmp_path: Path):
    file = tmp_path / "lines.txt"
    file.write_bytes("\ufeff one \r\n\r\n\t\ntwo  words\n".encode())
    assert list(read_lines(file)) == [(1, "one"), (4, "two  words")]


def test_a_line_that_is_not_utf8_is_refused_by_number(tmp_path: Path):
    file = tmp_path / "lines.txt"
    file.write_bytes(b"one\nW\xe9n\n")
    with pytest.raises(UserError, match=r"lines\.txt line 2: expected UTF-8 text, got 'W\\udce9n'\."):
        list(read_lines(file))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"none\.txt: cannot be read \(No such file or directory\)\."):
        list(read_lines(tmp_path / "none.txt"))


def test_a_long_line_is_cut():
    assert str(bad_line(Path("f"), 1, "less", "x" * 81)) == f"f line 1: expected less, got '{'x' * 80}..'."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.json"


def test_reads_json_with_or_without_a_mark(path: Path) -> None:
    path.write_text('\ufeff{"a": [1, "é"]}', encoding="utf-8")
    assert read_json(path) == {"a": [1, "é"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", " line 1 column 1: expected JSON (Expecting value), got ''; "),
        (b'[1,\n 2, x"y"]', " line 2 column 5: expected JSON (Expecting value), got 'x\"y\"]'; "),
        (b'["\xff"]', ": expected UTF-8 text, got b'\\xff' in line 1; "),
        (b"[" * 100_000, ": expected JSON, got "),
        (b"9" * 5000, ": expected JSON, got "),
    ],
)
def test_says_where_a_file_is_no_json(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match="expected") as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}{said}")
    assert str(caught.value).endswith("; the file is damaged: download or create it again.")
    assert "\n" not in str(caught.value)


def test_names_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(UserError, match=r"some\.json: cannot be read \(No such file or directory\)"):
        read_json(path)


@pytest.mark.parametrize(
    ("take", "value"), [(as_list, {}), (as_list, "ab"), (as_object, []), (as_text, 3), (as_text, None)]
)
def test_refuses_another_type(take: Callable[[object, str, str], object], value: object) -> None:
    with pytest.raises(UserError, match=r"^here: expected a thing, got "):
        take(value, "here", "a thing")


def test_long_values_are_cut_and_stay_on_a_line() -> None:
    said = str(bad_value("here", "a thing", ["\n" * 500] * 500))
    assert len(said) < 1000
    assert "\n" not in said


@pytest.mark.parametrize(("name", "hidden"), [("._a.jpg", True), ("b/._a.jpg", True), ("._b/a.jpg", False)])
def test_the_name_of_the_file_says_whether_it_is_hidden(name: str, hidden: bool):
    assert is_hidden(name) is hidden


@pytest.mark.parametrize(
    ("path", "inside"), [("a/b.jpg", True), ("a/..b/c.jpg", True), ("../a.jpg", False), ("/a.jpg", False)]
)
def test_a_path_stays_inside_unless_it_leads_up_or_starts_at_the_root(path: str, inside: bool):
    assert stays_inside(PurePosixPath(path)) is inside


def test_missing_images_are_counted_and_the_first_is_named(tmp_path: Path):
    (tmp_path / "a.jpg").touch()
    require_images(tmp_path, ["a.jpg"], "list.txt")
    with pytest.raises(UserError, match=r"/c\.jpg: no such image; 2 of the 3 files of list\.txt are missing\.$"):
        require_images(tmp_path, ["a.jpg", "c.jpg", "b.jpg"], "list.txt")
