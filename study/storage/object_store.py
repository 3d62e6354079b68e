"""Storage in an object store such as S3, through fsspec.

Writes are atomic. Every failure is raised as a StoreError, an OSError with a one-line message. The client of the store,
on S3 botocore, repeats requests that fail temporarily (500, 503, a broken connection, no answer): see REQUEST_ATTEMPTS.
Reads that are interrupted while the content arrives are repeated here.
"""

import errno
import io
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from upath import UPath

from pan_model.errors import UserError
from pan_model.files import atomic_write, content_key
from study.storage.location import MAX_CONCURRENT_REQUESTS

READ_ATTEMPTS = 4
"""Number of attempts to read an object, with waits of 0.1, 0.2 and 0.4 s after interrupted ones."""


class StoreError(OSError):
    """A store did not answer or refused a request. The message is one line."""


class ObjectStorage:
    """Objects of a store. A folder is a common prefix of their keys. See `Storage`."""

    def write(self, path: UPath, write: Callable[[Path], object]) -> None:
        """Let `write` fill a local file and put it: readers see the old object or the new one."""
        with tempfile.TemporaryDirectory(prefix="pan-study-") as folder:
            temporary = Path(folder) / path.name
            write(temporary)
            self._put(path, temporary)

    def write_folder(self, folder: UPath, write: Callable[[Path], object], *, last: str) -> None:
        """Let `write` fill a local folder and put its files one by one, ending with the file `last`."""
        with tempfile.TemporaryDirectory(prefix="pan-study-") as temporary:
            write(Path(temporary))
            for file in sorted(Path(temporary).iterdir(), key=lambda file: (file.name == last, file.name)):
                self._put(folder / file.name, file)

    def append(self, path: UPath, line: str) -> None:
        """Append a line by writing the object again, so it should be small."""
        content = (self.read(path) or b"") + line.encode()
        self.write(path, lambda temporary: temporary.write_bytes(content))

    def read(self, path: UPath) -> bytes | None:
        """Return an object's content, None if it does not exist."""
        return self.prefetch([path])[path]

    @contextmanager
    def open(self, path: UPath) -> Generator[IO[bytes] | None]:
        """Open an object's content for reading, None if it does not exist."""
        content = self.read(path)
        yield None if content is None else io.BytesIO(content)

    def prefetch(self, paths: Sequence[UPath]) -> dict[UPath, bytes | None]:
        """Return the contents of objects of one store, read concurrently; None for those that do not exist."""
        contents: dict[str, Any] = {}
        keys = [path.path for path in paths]
        for attempt in range(READ_ATTEMPTS if keys else 0):
            with _store_errors(paths[0], "read"):
                wanted = [key for key in keys if key not in contents or _is_interrupted(contents[key])]
                contents |= _file_system(paths[0]).cat(
                    wanted, on_error="return", max_concurrency=1, batch_size=MAX_CONCURRENT_REQUESTS
                )
            if not any(map(_is_interrupted, contents.values())):
                break
            time.sleep(0.1 * 2**attempt)
        for path in paths:
            content = contents[path.path]
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                with _store_errors(path, "read"):
                    raise content
        return {path: None if isinstance(contents[path.path], Exception) else contents[path.path] for path in paths}

    def copy_to_disk(self, path: UPath, folder: Path) -> Path:
        """Copy an object to a file in `folder` that is named by the object's key, and return that file."""
        content = self.read(path)
        if content is None:
            raise StoreError(f"{path}: cannot be read (no such object)")
        copy = folder / f"{content_key(str(path))[:16]}-{path.name}"
        with atomic_write(copy) as temporary:
            temporary.write_bytes(content)
        return copy

    def exists(self, path: UPath) -> bool:
        """Return whether an object exists, or objects below it."""
        with _store_errors(path, "looked up"):
            return _file_system(path).exists(path.path)

    def remove(self, path: UPath) -> None:
        """Remove an object if it exists."""
        with _store_errors(path, "removed"):
            try:
                _file_system(path).rm_file(path.path)
            except FileNotFoundError:
                return

    def remove_unfinished(self, path: UPath) -> None:
        """Do nothing: objects are never written in part."""

    def list_folder(self, folder: UPath) -> list[UPath]:
        """Return the objects and folders directly in a folder, sorted by name."""
        depth = len(folder.parts)
        return sorted({folder / path.parts[depth] for path in self.list_below(folder)})

    def list_below(self, folder: UPath) -> list[UPath]:
        """Return all objects whose keys begin with the folder's key and a slash, sorted by key."""
        with _store_errors(folder, "listed"):
            start = folder.path.rstrip("/") + "/"
            keys = _file_system(folder).find(folder.path)
        return [folder / key.removeprefix(start) for key in keys if key.startswith(start)]

    def find_in_subfolders(self, folder: UPath, name: str) -> list[UPath]:
        """Return the objects with this name in the direct subfolders of a folder."""
        depth = len(folder.parts) + 2
        return [path for path in self.list_below(folder) if path.name == name and len(path.parts) == depth]

    def times_in_subfolders(self, folder: UPath, *names: str) -> list[dict[str, float]]:
        """Return for each name the modification time of that object in each subfolder, in Unix seconds.

        The listing of S3 contains the times; other stores may need one request for each object.
        """
        depth = len(folder.parts) + 2
        with _store_errors(folder, "listed"):
            store, start = _file_system(folder), folder.path.rstrip("/") + "/"
            infos = {folder / key.removeprefix(start): info for key, info in store.find(start, detail=True).items()}
            times = {
                path: info.get("LastModified") or store.modified(path.path)
                for path, info in infos.items()
                if path.name in names and len(path.parts) == depth
            }
        return [
            {path.parent.name: modified.timestamp() for path, modified in times.items() if path.name == name}
            for name in names
        ]

    def check_writable(self, folder: UPath, what: str, flag: str, *, probe: str) -> None:
        """Raise UserError if an object cannot be written. The name of the test object begins with `probe`."""
        path = folder / f"{probe}{uuid4().hex}"
        try:
            self.write(path, Path.touch)
            self.remove(path)
        except StoreError as error:
            raise UserError(
                f"{what} cannot be written to {folder}: {error}; fix that, or give another {flag}."
            ) from error

    def _put(self, path: UPath, file: Path) -> None:
        with _store_errors(path, "written"):
            _file_system(path).put_file(str(file), path.path)


def _file_system(location: UPath) -> Any:
    file_system: Any = location.fs
    if location.protocol == "s3":
        file_system.retries = 1  # the retries of s3fs would multiply those of botocore
    return file_system


def _is_interrupted(content: Any) -> bool:
    """Return whether a read failed while the content arrived."""
    from s3fs.core import S3_RETRYABLE_ERRORS  # importing s3fs takes a second, and results on a disk do not need it

    return isinstance(content, S3_RETRYABLE_ERRORS)


@contextmanager
def _store_errors(location: UPath, action: str) -> Generator[None]:
    """Convert any error of the store's library to a StoreError: errors of botocore, for example, are not OSErrors."""
    try:
        yield
    except Exception as error:
        number = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
        failure = StoreError(f"{location}: cannot be {action} ({_reason(error, location)})")
        failure.errno = number
        raise failure from error


def _reason(error: Exception, location: UPath) -> str:
    """Return the reason in one line, with what to check."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f"{message}; does the bucket {location.drive} exist?"
    if isinstance(error, PermissionError) or "redentials" in message:
        return f"{message}; check the credentials: AWS_* in the environment, a profile or the machine's role"
    return message
