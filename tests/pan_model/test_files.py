"""Folders that cannot be written are refused, and nothing is made."""

from pathlib import Path

import pytest

from pan_model.errors import UserError
from pan_model.files import check_writable, existing_parent


@pytest.mark.parametrize("folder", ["file", "file/a"])
def test_file_in_the_way(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    rule = (
        rf"features cannot be written to .*/{folder}: .*/file is no folder that can be written; give another --here\."
    )
    with pytest.raises(UserError, match=rule):
        check_writable(tmp_path / folder, "features", "--here")


def test_folder_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "not" / "yet", "features")
    assert not list(tmp_path.iterdir())


def test_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert existing_parent(tmp_path) == tmp_path
    assert existing_parent(tmp_path / "not" / "yet") == tmp_path
