"""Standard streams that never end a command: a closed pipe or terminal, or a name that the encoding lacks.

The product of a command is its files. Without a reader of its output, such as `head` after ten lines, it goes on.
"""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET, errno.ENOTCONN)
"""Errors of a stream that has no reader any more."""


@contextmanager
def steady_output() -> Generator[None]:
    """Replace stdout and stderr within a block, so that writing to them raises no error.

    - A stream without a reader is connected to os.devnull, also for C++ libraries and child processes.
    - A stream that cannot be written for another reason, such as a full disk, loses what was written meanwhile.
    - Characters that the encoding lacks are written as backslash escapes.
    - A stream that was closed from the beginning (`>&-`) is os.devnull, so that no other file gets its number.

    Streams that are not those of the process, such as a test's, stay as they are.
    """
    for number in range(3):
        _open_if_closed(number)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _steady(sys.stdout, 1), _steady(sys.stderr, 2)
    try:
        yield
    finally:
        with suppress(ValueError):  # closed by a library
            sys.stdout.flush()
            sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _SteadyFile(io.RawIOBase):
    """Write to a file descriptor, which stays open; errors are not raised."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._is_reported = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, content: Any, /) -> int:
        try:
            return os.write(self._number, content)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in GONE:
                _connect_to_nothing(self._number)
            elif self._number != 2 and not self._is_reported:
                self._is_reported = True
                print(f"output cannot be written ({error.strerror}); going on without it", file=sys.stderr)
            return len(memoryview(content).cast("B"))


def _steady(stream: Any, number: int) -> Any:
    """Return a stream that raises no error in place of the process's own stream of this number."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED, there is no buffer between
    is_own = isinstance(raw, io.FileIO) and not raw.closed and raw.fileno() == number
    if stream is not None:
        if not is_own:
            return stream
        with suppress(OSError):
            stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_SteadyFile(number)),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        _connect_to_nothing(number)


def _connect_to_nothing(number: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)
