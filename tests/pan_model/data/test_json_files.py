"""A JSON file that cannot be used is one line that says where."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pan_model.data.json_files import as_list, as_object, as_text, bad_value, read_json
from pan_model.errors import UserError


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
        (b'["\xff"]', ": expected UTF-8 text, got b'\\xff'; "),
        (b"[" * 100_000, ": expected JSON, got "),
        (b"9" * 5000, ": expected JSON, got "),
    ],
)
def test_says_where_a_file_is_no_json(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match="expected") as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}{said}")
    assert str(caught.value).endswith("; the file is damaged: get or make it anew.")
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
