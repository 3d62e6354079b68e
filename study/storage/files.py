"""Files of a study on a disk or in an object store, and functions that read and write text and JSON.

`storage_of` chooses the storage. Writes are atomic: a reader sees the old content or the new.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar, runtime_checkable

from pan_model.errors import UserError
from pan_model.files import decode_user_text
from study.storage.local_storage import LocalStorage
from study.storage.location import Location, in_store
from study.storage.object_store import ObjectStorage, StoreError

COPY_BATCH_SIZE = 1000
"""Number of files that are read from a store concurrently when files are copied; it bounds the memory for them."""

L = TypeVar("L", bound=Location)


@runtime_checkable  # for beartype, which checks types while tests run
class Storage(Protocol[L]):
    """Operations on files. `LocalStorage` implements them for a disk, `ObjectStorage` for an object store."""

    def write(self, path: L, write: Callable[[Path], object]) -> None:
        """Let `write` fill a local file that then replaces `path`; folders are created."""
        ...

    def write_folder(self, folder: L, write: Callable[[Path], object], *, last: str) -> None:
        """Let `write` fill a local folder that then becomes `folder`.

        In a store the files arrive one by one: the folder is complete when it has the file `last`.
        """
        ...

    def append(self, path: L, line: str) -> None:
        """Append a line, with its end, to a small text file or to a new one in an existing folder."""
        ...

    def read(self, path: L) -> bytes | None:
        """Return a file's content, None if it does not exist."""
        ...

    def open(self, path: L) -> AbstractContextManager[IO[bytes] | None]:
        """Open a file for reading, None if it does not exist."""
        ...

    def prefetch(self, paths: Sequence[L]) -> Mapping[L, bytes | None]:
        """Return the contents of files if reading them concurrently is faster; otherwise nothing.

        None stands for a file that does not exist.
        """
        ...

    def copy_to_disk(self, path: L, folder: Path) -> Path:
        """Return a local file with the same content: the file itself, or a fresh copy in `folder`."""
        ...

    def exists(self, path: L) -> bool:
        """Return whether a file exists, or a folder with files."""
        ...

    def remove(self, path: L) -> None:
        """Remove a file if it exists."""
        ...

    def remove_unfinished(self, path: L) -> None:
        """Remove temporary files of processes that died while they wrote `path`."""
        ...

    def list_folder(self, folder: L) -> list[L]:
        """Return the files and folders directly in a folder, sorted by name; none if it does not exist."""
        ...

    def list_below(self, folder: L) -> list[L]:
        """Return all files below a folder, sorted."""
        ...

    def find_in_subfolders(self, folder: L, name: str) -> list[L]:
        """Return the files with this name in the direct subfolders of a folder."""
        ...

    def times_in_subfolders(self, folder: L, *names: str) -> list[dict[str, float]]:
        """Return for each name the modification time of that file in each subfolder, in Unix seconds."""
        ...

    def check_writable(self, folder: L, what: str, flag: str, *, probe: str) -> None:
        """Raise UserError if files cannot be written to a folder.

        Args:
            folder: The folder, which need not exist.
            what: The content to be written, for the message.
            flag: The flag that sets the folder, for the message.
            probe: Prefix of the name of an object that is written to a store as a test, and removed.
        """
        ...


_LOCAL = LocalStorage()
_OBJECTS = ObjectStorage()


def storage_of(location: Location) -> Storage[Any]:
    """Return the storage for a location."""
    return _OBJECTS if in_store(location) else _LOCAL


def write_file(path: Location, write: Callable[[Path], object]) -> None:
    """Let `write` fill a local file that then replaces `path`."""
    storage_of(path).write(path, write)


def write_text(path: Location, text: str) -> None:
    """Write a text file in UTF-8; line ends stay as they are."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def write_json(path: Location, value: Any) -> None:
    """Write a JSON file. Numbers read back exactly; NaN and infinity raise ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def append_line(path: Location, line: str) -> None:
    """Append a line, with its end, to a small text file or to a new one in an existing folder."""
    storage_of(path).append(path, line)


def exists(path: Location) -> bool:
    """Return whether a file exists, or a folder with files."""
    return storage_of(path).exists(path)


def remove(path: Location) -> None:
    """Remove a file if it exists."""
    storage_of(path).remove(path)


def read_json(path: Location, way_out: str) -> Any:
    """Read a JSON file of any content.

    Args:
        path: The file.
        way_out: The way out if the file is damaged: an imperative without a full stop, for the message.

    Raises:
        UserError: If the file is missing, unreadable or not JSON.
        StoreError: If a store does not answer.
    """
    content = read_if_exists(path, way_out)
    if content is None:
        raise UserError(f"{path}: cannot be read (No such file or directory); {way_out}.")
    return parse_json(path, content, way_out)


def read_if_exists(path: Location, way_out: str) -> bytes | None:
    """Return a file's content, None if it does not exist; see `read_json`."""
    try:
        return storage_of(path).read(path)
    except StoreError:  # also an OSError, but changing the file does not help
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {way_out}.") from error


def parse_json(path: Location, content: bytes, way_out: str) -> Any:
    """Parse the content of a JSON file; see `read_json`."""
    try:
        return json.loads(decode_user_text(content))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}); {way_out}.") from error


def copy_all(copies: Mapping[Location, Path]) -> None:
    """Copy files to local files in batches.

    Args:
        copies: The copy of each file. A file that no longer exists is left out.
    """
    originals = [*copies]
    for start in range(0, len(originals), COPY_BATCH_SIZE):
        batch = originals[start : start + COPY_BATCH_SIZE]
        prefetched = storage_of(batch[0]).prefetch(batch)
        for original in batch:
            content = (
                prefetched[original] if original in prefetched else read_if_exists(original, "copy the others by hand")
            )
            if content is not None:
                write_file(copies[original], partial(_write_bytes, content))


def _write_bytes(content: bytes, file: Path) -> None:
    file.write_bytes(content)
