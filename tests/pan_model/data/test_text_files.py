from pathlib import Path

import pytest

from pan_model.data.text_files import bad_line, read_lines
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
