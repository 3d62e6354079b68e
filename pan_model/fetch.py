"""Download of files by HTTP: resumes interrupted downloads, retries dropped connections, verifies checksums."""

import hashlib
import http.client
import json
import re
import shutil
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from importlib.util import find_spec
from pathlib import Path

from pan_model.errors import UserError

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes downloaded, and the total if the server states it."""

CHUNK = 1 << 20  # bytes
PARTIAL_CONTENT = 206
RANGE_NOT_SATISFIABLE = 416
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP status codes that are worth a retry."""


class FetchError(UserError):
    """A download failed. The message is the reason, in one line; callers add the file and a way out."""


class _Dropped(Exception):
    """The connection dropped, which is worth a retry."""


@dataclass(frozen=True)
class Checksum:
    """The first hexadecimal digits of the digest of a file. An empty string fits every file."""

    algorithm: str
    digest: str

    def fits(self, path: Path) -> bool:
        """Return whether a file has this digest."""
        return self.of(path).startswith(self.digest)

    def of(self, path: Path) -> str:
        """Return the complete digest of a file."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(self.algorithm, usedforsecurity=False)).hexdigest()


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """Timeouts and retries of a download.

    Attributes:
        timeout_s: Longest time without a byte, seconds.
        tries: Number of attempts in a row without progress.
        pause_s: Pause before the second attempt, seconds. It doubles with each further attempt.
        sleep: Waits for some seconds.
        free_bytes: Returns the free space of the disk of a folder, bytes.
    """

    timeout_s: float = 30.0
    tries: int = 4
    pause_s: float = 0.5
    sleep: Callable[[float], None] = time.sleep
    free_bytes: Callable[[Path], int] = _free_bytes


@dataclass(frozen=True)
class _Origin:
    """The origin of a partial download, stored next to it. A later run uses it to detect that the file has changed."""

    url: str
    validator: str
    total: int | None


def fetch(
    url: str,
    part: Path,
    checksum: Checksum,
    *,
    config: FetchConfig,
    progress: Progress | None = None,
    room: float = 1.0,
) -> None:
    """Download `url` to `part` and verify its checksum.

    An existing part is completed if the server supports it (Range) and its file has not changed (If-Range). Otherwise
    the download starts over.

    Args:
        url: An http or https address.
        part: The file to write.
        checksum: The expected checksum.
        config: Timeouts and retries.
        progress: Called after each chunk.
        room: Required disk space, in sizes of the file, minus the size of the part.

    Raises:
        FetchError: The download failed. The part and its `.origin` file are kept for the next attempt, unless the
            checksum is wrong.
    """
    failures = 0
    while True:
        before = _size(part)
        try:
            _fetch_rest(url, part, config, progress or _silent, room)
            break
        except _Dropped as error:
            failures = 1 if _size(part) >= before + CHUNK else failures + 1
            if failures >= config.tries:
                raise FetchError(str(error)) from error
        config.sleep(config.pause_s * 2 ** (failures - 1))
    _check_sum(part, checksum)


@contextmanager
def show_progress() -> Generator[Progress]:
    """Yield a progress callback for `fetch` that writes to stderr.

    A terminal shows a bar if rich is installed. Otherwise a line is printed for each tenth, or for each 100 MB if the
    total is unknown.
    """
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield _print_lines()
        return
    from rich import progress
    from rich.console import Console

    columns = (progress.BarColumn(), progress.DownloadColumn(), progress.TransferSpeedColumn())
    with progress.Progress(*columns, progress.TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("download", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_lines() -> Progress:
    last = -1

    def show(done: int, total: int | None) -> None:
        nonlocal last
        step = 10 * done // total if total else done // 100_000_000
        if step > last:
            last = step
            share = f" of {megabytes(total)} ({100 * done // total}%)" if total else ""
            print(f"downloaded {megabytes(done)}{share}", file=sys.stderr, flush=True)

    return show


def discard(part: Path) -> None:
    """Remove a partial download and its origin file."""
    part.unlink(missing_ok=True)
    origin_file(part).unlink(missing_ok=True)


def first_line(error: Exception) -> str:
    """Return the first line of the message of an error, or its type if there is no message."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _silent(_done: int, _total: int | None) -> None:
    """Ignore progress."""


def _check_sum(part: Path, checksum: Checksum) -> None:
    try:
        digest = checksum.of(part)
    except OSError as error:
        raise FetchError(first_line(error)) from error
    if not digest.startswith(checksum.digest):
        discard(part)
        raise FetchError(
            f"invalid hash value: {checksum.algorithm} must be {checksum.digest}, got {digest[: len(checksum.digest)]}"
        )


def _fetch_rest(url: str, part: Path, config: FetchConfig, progress: Progress, room: float) -> None:
    origin = _read_origin(part)
    start = _size(part) if origin and origin.url == url else 0
    if origin and start and start == origin.total:
        return
    with _opened(url, part, _range_headers(start, origin), config.timeout_s) as response:
        if response.status != PARTIAL_CONTENT:
            start = 0
        total = _announced_size(response.headers, response.status)
        if start:
            _check_range(part, response.headers, start, origin, total)
        _check_room(part.parent, total, start, room, config)
        _write_body(response, part, _Origin(url, _validator(response.headers), total), start, progress)


def _range_headers(start: int, origin: _Origin | None) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "pan-study"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if origin and origin.validator:
            headers["If-Range"] = origin.validator
    return headers


@contextmanager
def _opened(
    url: str, part: Path, headers: dict[str, str], timeout_s: float
) -> Generator[http.client.HTTPResponse, None, None]:
    """Send the request. A new opener is used because the global one does not notice changes of proxy variables."""
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise FetchError("expected an http:// or https:// address")
    try:
        response = urllib.request.build_opener().open(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == RANGE_NOT_SATISFIABLE and "Range" in headers:
            discard(part)
        elif error.code not in TRANSIENT:
            raise FetchError(first_line(error)) from error
        raise _Dropped(first_line(error)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _refusal(error) from error
    with response:
        if not isinstance(response, http.client.HTTPResponse):
            raise FetchError("the address redirects to one that is not http:// or https://")
        yield response


def _refusal(error: Exception) -> FetchError | _Dropped:
    """Return FetchError for errors that a retry does not fix, such as an unknown host, otherwise _Dropped."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    final = (
        ConnectionRefusedError,
        socket.gaierror,
        ssl.SSLCertVerificationError,
        http.client.InvalidURL,
        ValueError,
        str,
    )
    return (FetchError if isinstance(cause, final) else _Dropped)(first_line(error))


def _announced_size(headers: Message, status: int) -> int | None:
    """Return the size of the complete file, bytes, or None if the server does not state it."""
    if status == PARTIAL_CONTENT:
        match = re.search(r"/([0-9]+)$", str(headers.get("Content-Range", "")).strip())
    else:
        match = re.fullmatch(r"([0-9]+)", str(headers.get("Content-Length", "")).strip())
    return int(match.group(1)) if match else None


def _check_range(part: Path, headers: Message, start: int, origin: _Origin | None, total: int | None) -> None:
    """Start over if the response does not continue the part."""
    sent_from = re.match(r"bytes\s+([0-9]+)-", str(headers.get("Content-Range", "")))
    grown = origin is not None and origin.total is not None and total != origin.total
    if grown or sent_from is None or int(sent_from.group(1)) != start:
        discard(part)
        raise _Dropped("the file on the server has changed since the download began")


def _check_room(folder: Path, total: int | None, start: int, room: float, config: FetchConfig) -> None:
    if total is None:
        return
    needed, free = int(total * room) - start, config.free_bytes(folder)
    if free < needed:
        raise FetchError(f"the disk of {folder} must have {megabytes(needed)} free, got {megabytes(free)}")


def megabytes(num_bytes: int) -> str:
    """Format a size.

    >>> megabytes(1_150_585_339)
    '1150.6 MB'
    """
    return f"{num_bytes / 1e6:.1f} MB"


def _write_body(
    response: http.client.HTTPResponse, part: Path, origin: _Origin, start: int, progress: Progress
) -> None:
    done = start
    try:
        with part.open("ab" if start else "wb") as file:
            origin_file(part).write_text(json.dumps(vars(origin)), encoding="utf-8")
            for chunk in _chunks(response):
                file.write(chunk)
                done += len(chunk)
                progress(done, origin.total)
    except OSError as error:
        raise FetchError(first_line(error)) from error
    if origin.total is not None and done < origin.total:
        raise _Dropped(f"the connection was dropped after {done} of {origin.total} bytes")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Dropped(first_line(error)) from error
        if not chunk:
            return
        yield chunk


def _validator(headers: Message) -> str:
    """Return the validator for If-Range: a strong ETag, otherwise the date. Weak ETags do not identify the bytes."""
    tag = str(headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(headers.get("Last-Modified", ""))


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def origin_file(part: Path) -> Path:
    """Return the path of the file with the origin of a partial download."""
    return part.with_name(part.name + ".origin")


def _read_origin(part: Path) -> _Origin | None:
    try:
        return _Origin(**json.loads(origin_file(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
