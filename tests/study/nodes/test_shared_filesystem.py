"""Where an output lies, and the marker by which nodes that share it are known."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

from study.nodes.shared_filesystem import file_system, marker_beside
from study.storage.object_store import StoreError


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path: Path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"disk / ext4 rw 0 0\nserver:/x {tmp_path.resolve()}/shared nfs4 rw 0 0\n"
        f"tmpfs {tmp_path.resolve()}/my\\040disk tmpfs rw 0 0\n"
    )
    kinds = {name: file_system(tmp_path / name, mounts) for name in ("elsewhere", "shared/results", "my disk/results")}
    assert kinds == {"elsewhere": "ext4", "shared/results": "nfs4", "my disk/results": "tmpfs"}
    assert file_system(tmp_path, tmp_path / "none") == ""


@pytest.mark.parametrize("below", ["", "results", "results/deep"])
def test_the_marker_lies_in_the_nearest_folder_and_goes_whatever_happens(tmp_path: Path, below: str):
    with pytest.raises(OSError, match="gone"), marker_beside(tmp_path / below) as marker:  # noqa: PT012
        assert [str(path) for path in tmp_path.iterdir()] == [marker.path]
        assert Path(marker.path).read_text() == marker.content
        raise OSError("gone")
    assert list(tmp_path.iterdir()) == []


def test_the_marker_of_a_store_is_an_object(tmp_path: Path):
    store = MemoryFileSystem()
    with marker_beside(UPath(f"memory://{secrets.token_hex(4)}/results")) as marker:
        assert store.cat_file(marker.path) == marker.content.encode()
    assert not store.exists(marker.path)


def test_a_store_that_does_not_take_the_marker_is_told(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
    told = pytest.raises(StoreError, match=r"/results/\.pan-study-\w+: cannot be written \(Access Denied; which")
    with told, marker_beside(UPath(f"memory://{secrets.token_hex(4)}/results")):
        pass
