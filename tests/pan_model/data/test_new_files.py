"""All files or none, and never over what is there."""

from pathlib import Path

import pytest

from pan_model.data.new_files import write_new_files
from pan_model.errors import UserError


def test_writes_all_files_and_makes_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    write_new_files({folder / "1.txt": "one\n", folder / "2.txt": "zwölf\r\n"})
    assert sorted(path.name for path in folder.iterdir()) == ["1.txt", "2.txt"]
    assert (folder / "1.txt").read_bytes() == b"one\n"
    assert (folder / "2.txt").read_bytes() == "zwölf\r\n".encode()


def test_leaves_what_is_there_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "2.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"2\.txt: is already there; move it away or give another --output\."):
        write_new_files({tmp_path / "1.txt": "one", tmp_path / "2.txt": "two"})
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["mine"]


def test_a_link_to_nowhere_is_there_too(tmp_path: Path) -> None:
    (tmp_path / "1.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"1\.txt: is already there"):
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
