"""Files of the cache: whole under their name or not there at all."""

from pathlib import Path

import pytest

from pan_model.cache import content_key, written_whole
from pan_model.errors import UserError


def test_key_tells_contents_apart() -> None:
    contents = [(1,), ("1",), (1, 2), ([1, 2],), ({"a": 1},), ({"a": 2},), ()]
    assert len({content_key(*content) for content in contents}) == len(contents)
    assert content_key("a", 1) == content_key("a", 1)


def test_written_under_its_name_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.npy"
    with written_whole(path, "pictures") as temporary:
        temporary.write_text("one")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert [file.read_text() for file in path.parent.iterdir()] == ["one"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("b"), OSError("disk is full")])
def test_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.npy"
    path.write_text("old")

    def write() -> None:
        with written_whole(path, "pictures") as temporary:
            temporary.write_text("half")
            raise error

    said = r"pictures cannot be cached in .* \(disk is full\); give another --cache-dir\."
    with pytest.raises((KeyboardInterrupt, UserError), match=said if isinstance(error, OSError) else "^b?$"):
        write()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def write() -> None:
        with written_whole(tmp_path / "file" / "a" / "b.npy", "features") as temporary:
            temporary.write_text("never")

    with pytest.raises(UserError, match=r"features cannot be cached in .*--cache-dir"):
        write()
