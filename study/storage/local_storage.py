"""Storage in a folder of this machine, or on a file system that several machines share."""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pan_model.errors import faults_at
from pan_model.files import atomic_folder, atomic_write, check_writable


class LocalStorage:
    """Files on a disk: written under a temporary name, flushed to the disk and renamed. See `Storage`."""

    def write(self, path: Path, write: Callable[[Path], object]) -> None:
        """Let `write` fill a temporary file that then replaces `path`; folders are created."""
        with atomic_write(path) as temporary:
            write(temporary)

    def write_folder(self, folder: Path, write: Callable[[Path], object], *, last: str) -> None:
        """Let `write` fill a temporary folder that is then renamed to `folder`."""
        with atomic_folder(folder) as temporary:
            write(temporary)

    def append(self, path: Path, line: str) -> None:
        """Append a line and flush it to the disk."""
        with faults_at(path), path.open("a", encoding="utf-8") as lines:
            lines.write(line)
            lines.flush()
            os.fsync(lines.fileno())

    def read(self, path: Path) -> bytes | None:
        """Return a file's content, None if it does not exist."""
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    @contextmanager
    def open(self, path: Path) -> Generator[IO[bytes] | None]:
        """Open a file for reading, None if it does not exist."""
        if not path.exists():
            yield None
            return
        with path.open("rb") as file:
            yield file

    def prefetch(self, paths: Sequence[Path]) -> dict[Path, bytes | None]:
        """Return an empty mapping: files on a disk are read one by one."""
        return {}

    def copy_to_disk(self, path: Path, folder: Path) -> Path:
        """Return the file itself."""
        return path

    def exists(self, path: Path) -> bool:
        """Return whether a file or a folder exists."""
        return path.exists()

    def remove(self, path: Path) -> None:
        """Remove a file if it exists."""
        path.unlink(missing_ok=True)

    def remove_unfinished(self, path: Path) -> None:
        """Remove the temporary files of processes that died while they wrote `path`."""
        for leftover in path.parent.glob(f".{path.name}.*"):
            leftover.unlink()

    def list_folder(self, folder: Path) -> list[Path]:
        """Return the files and folders directly in a folder, sorted by name."""
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def list_below(self, folder: Path) -> list[Path]:
        """Return all files below a folder, sorted."""
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def find_in_subfolders(self, folder: Path, name: str) -> list[Path]:
        """Return the files with this name in the direct subfolders of a folder."""
        return [*folder.glob(f"*/{name}")]

    def times_in_subfolders(self, folder: Path, *names: str) -> list[dict[str, float]]:
        """Return for each name the modification time of that file in each subfolder, in Unix seconds."""
        return [{file.parent.name: file.stat().st_mtime for file in folder.glob(f"*/{name}")} for name in names]

    def check_writable(self, folder: Path, what: str, flag: str, *, probe: str) -> None:
        """Raise UserError if files cannot be written to a folder that exists or can be created."""
        check_writable(folder, what, flag)
