"""Says how far a download is, in one line that is written over on a terminal, else in a line for each tenth."""

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from pan_model.fetch import megabytes

_PAUSE_S = 0.5  # between two states of a terminal's line


@runtime_checkable
class Screen(Protocol):
    """What a line is written to, such as sys.stderr."""

    def write(self, text: str, /) -> object:
        """Write some text."""
        ...

    def flush(self) -> object:
        """Show it."""
        ...

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        ...


class ProgressLine:
    """A progress callback for `fetch`; call `close` when it is over."""

    def __init__(self, stream: Screen, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._due_s = clock()
        self._tenth = -1
        self._open = False

    def __call__(self, done: int, total: int | None) -> None:
        """Say that `done` of `total` bytes are there, if that is news."""
        tenth = 10 * done // total if total else done // 100_000_000
        if self._stream.isatty():
            if self._clock() >= self._due_s or done == total:
                self._due_s = self._clock() + _PAUSE_S
                self._write(f"\r{_describe(done, total)}")
                self._open = True
        elif tenth > self._tenth:
            self._tenth = tenth
            self._write(f"{_describe(done, total)}\n")

    def close(self) -> None:
        """End the terminal's line."""
        if self._open:
            self._write("\n")
            self._open = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _describe(done: int, total: int | None) -> str:
    """Say how far it is.

    >>> _describe(5_000_000, 20_000_000)
    'downloaded 5.0 MB of 20.0 MB (25%)'
    """
    return f"downloaded {megabytes(done)}" + (f" of {megabytes(total)} ({100 * done // total}%)" if total else "")
