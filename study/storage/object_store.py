"""An object store: objects are written whole or not at all, and whatever goes wrong is an OSError.

A request that fails for a while (500, 503, a cut connection, no answer) is made again by the store's own client, on S3
by botocore: see REQUEST_ATTEMPTS. What is cut while its content is read is asked for again here.
"""

import errno
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upath import UPath

from study.storage.location import SIDE_BY_SIDE

READS = 4
"""How often an object is asked for whose content is cut on the way; waits of 0.1, 0.2 and 0.4 s lie between."""


class StoreError(OSError):
    """The store did not do what it was asked, for now or for want of rights; the message is one line."""


def get_all(locations: Sequence[UPath]) -> list[bytes | None]:
    """The contents of objects of one store, read side by side; None where there is none."""
    found: dict[str, Any] = {}
    paths = [location.path for location in locations]
    for attempt in range(READS if paths else 0):
        with _errors_of(locations[0], "read"):
            missing = [path for path in paths if path not in found or _is_cut(found[path])]
            found |= _store(locations[0]).cat(missing, on_error="return", max_concurrency=1, batch_size=SIDE_BY_SIDE)
        if not any(map(_is_cut, found.values())):
            break
        time.sleep(0.1 * 2**attempt)
    for location in locations:
        content = found[location.path]
        if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
            with _errors_of(location, "read"):
                raise content
    return [None if isinstance(found[path], Exception) else found[path] for path in paths]


def put(location: UPath, file: Path) -> None:
    """Write a local file's content to the store: readers see the old object or the new, never a part."""
    with _errors_of(location, "written"):
        _store(location).put_file(str(file), location.path)


def delete(location: UPath) -> None:
    """Remove an object; it need not be there."""
    with _errors_of(location, "removed"):
        try:
            _store(location).rm_file(location.path)
        except FileNotFoundError:
            return


def list_below(location: UPath) -> list[UPath]:
    """All objects whose keys begin with the location's and a slash, in the order of their keys."""
    with _errors_of(location, "listed"):
        start = location.path.rstrip("/") + "/"
        names = _store(location).find(location.path)
    return [location / name.removeprefix(start) for name in names if name.startswith(start)]


def is_there(location: UPath) -> bool:
    """Whether there is an object of that name, or one below it."""
    with _errors_of(location, "looked up"):
        return _store(location).exists(location.path)


def times_below(location: UPath, wanted: Callable[[UPath], bool]) -> dict[UPath, float]:
    """When each wanted object below a location was written, in Unix seconds by the store's clock.

    S3's listing tells it; another store may be asked once for each.
    """
    with _errors_of(location, "listed"):
        store, start = _store(location), location.path.rstrip("/") + "/"
        found = {location / name.removeprefix(start): about for name, about in store.find(start, detail=True).items()}
        times = {
            file: about.get("LastModified") or store.modified(file.path)
            for file, about in found.items()
            if wanted(file)
        }
    return {file: time.timestamp() for file, time in times.items()}


def try_to_write(location: UPath) -> None:
    """Write a small object and remove it again; raises what the store raises."""
    with tempfile.NamedTemporaryFile() as empty:
        put(location, Path(empty.name))
    delete(location)


def _store(location: UPath) -> Any:
    store: Any = location.fs
    if location.protocol == "s3":
        store.retries = 1  # s3fs's own, which would multiply with botocore's
    return store


def _is_cut(content: Any) -> bool:
    """Whether a read failed on the way, not by the store's answer nor for want of a connection."""
    from s3fs.core import (
        S3_RETRYABLE_ERRORS,  # s3fs takes a second to import, which results on a disk need not wait for
    )

    return isinstance(content, S3_RETRYABLE_ERRORS)


@contextmanager
def _errors_of(location: UPath, done: str) -> Generator[None]:
    """Make a StoreError of whatever a store's library raises: botocore's errors are no OSErrors, for one."""
    try:
        yield
    except Exception as error:
        reason = _reason(error, location)
        number = errno.EACCES if isinstance(error, PermissionError) else errno.EIO
        failure = StoreError(f"{location}: cannot be {done} ({reason})")
        failure.errno = number
        raise failure from error


def _reason(error: Exception, location: UPath) -> str:
    """Why, in a line and in words that say what to look at."""
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return f"{said}; is there a bucket {location.drive}?"
    if isinstance(error, PermissionError) or "redentials" in said:
        return f"{said}; which credentials are used, AWS_* in the environment, a profile or the machine's role, decides"
    return said
