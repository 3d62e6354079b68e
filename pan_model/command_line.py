"""The argument parser, the exit codes and the output of all commands. User errors are printed to stderr as one line.

The product of a command is its files. Without a reader of its output, such as `head` after a line, it goes on.
"""

import argparse
import difflib
import errno
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from pan_model.errors import UserError, find_machine_fault

BAD_INPUT = 2
INTERRUPTED = 130


def counted(number: float, noun: str, plural: str = "") -> str:
    """Return a number with its noun, in the plural unless the number is 1.

    >>> counted(1, "trial"), counted(0, "trial"), counted(0.5, "GPU"), counted(2, "class", "classes")
    ('1 trial', '0 trials', '0.5 GPUs', '2 classes')
    """
    text = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{text} {noun if number == 1 else plural or f'{noun}s'}"


EXAMPLE = "example:"
"""Begins the epilog of a command's help. The epilog keeps its lines, so that the example can be copied."""


class OneLineParser(argparse.ArgumentParser):
    r"""An argument parser that raises UserError and suggests the nearest flag for an unknown one.

    Give an example of the command by `epilog="example:\n  uv run .."`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_DefaultsFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise UserError with the message of argparse."""
        raise UserError(f"{message}; --help shows every flag.")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all words.

        Raises:
            UserError: If a word is left over, or a value is `--`, which argparse drops.
        """
        parsed, unknown = self.parse_known_args(words)
        if unknown:
            raise UserError(f"unknown flag or stray word '{unknown[0]}'; {self.hint(unknown)}")
        for action in self.flags.values():
            if action.nargs is None and getattr(parsed, action.dest) == []:
                raise UserError(f"argument {action.option_strings[0]}: '--' is not a value; --help shows every flag.")
        return parsed

    def hint(self, unknown: Sequence[str]) -> str:
        """Return what may be meant by the words from the first unknown one on."""
        names = {flag.removeprefix("--"): flag for flag in self._option_string_actions}
        written = unknown[0].split("=")[0]
        near = difflib.get_close_matches(written.removeprefix("--"), names, n=1) if written.startswith("-") else []
        return f"did you mean {names[near[0]]}?" if near else "--help shows every flag."

    @property
    def flags(self) -> dict[str, argparse.Action]:
        """The flags by the name of the value that they set."""
        return {action.dest: action for action in self._actions if action.dest != "help" and action.option_strings}


class _DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Append a flag's default to its help, unless the flag is off by default or its help states the default.

    The lines of an example stay as they are.
    """

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or "(default: " in (action.help or ""):
            return action.help
        return super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLE) else super()._fill_text(text, width, indent)


def run_with_exit_code(
    command: Callable[[], int | None],
    resume_hint: str = "",
    *,
    resumable: tuple[type[Exception], ...] = (),
    rephrase: Callable[[str], str] = str,
) -> int:
    """Run a command and return its exit code. User errors are printed to stderr as one line.

    SIGTERM, SIGHUP (a closed terminal) and Ctrl-C interrupt the command. A library that is interrupted during its
    cleanup may raise a different error, so every error after a signal counts as an interrupt. So does an exit that a
    library chooses. The command goes on if nothing reads its output any more.

    Args:
        command: Returns an exit code, or None for 0.
        resume_hint: What the user can do after an interrupt, a fault of the machine or an error of `resumable`.
        resumable: Errors after which the same command can be run again, such as a store that does not answer.
        rephrase: Applied to the messages of UserError.

    Returns:
        The exit code of the command, 2 for a user error or a fault of the machine, 130 after an interrupt.
    """
    suffix = f"; {resume_hint}" if resume_hint else ""
    reason = ""
    with steady_output(), _Signals() as signals, _QuietThreads():
        try:
            return command() or 0
        except KeyboardInterrupt:
            signals.received = True
        except SystemExit as ended:
            if ended.code in (None, 0):  # --help
                return 0
            reason = f" (a library ended the command with {ended.code!r})"
        except Exception as error:
            if not signals.received:
                line = _line_of(error, suffix, resumable, rephrase)
                if line is None:
                    raise
                print(f"error: {line}", file=sys.stderr)
                return BAD_INPUT
        signals.ending = True  # nothing interrupts the last line
        print(f"interrupted{reason}{suffix}", file=sys.stderr)
    return INTERRUPTED


def _line_of(
    error: Exception, suffix: str, resumable: tuple[type[Exception], ...], rephrase: Callable[[str], str]
) -> str | None:
    """Return the line about an error that is no defect; None for a defect."""
    line = " ".join(str(error).split())
    if isinstance(error, resumable):
        return f"{line}{suffix}"
    if isinstance(error, UserError):
        return rephrase(line)
    if fault := find_machine_fault(error):
        return f"{' '.join(str(fault).split())}{suffix}"
    return line if isinstance(error, PermissionError) else None


class _QuietThreads:
    """Print no traceback of a thread that ends by a fault of the machine: the main thread reports the fault."""

    def __enter__(self) -> None:
        self._before = threading.excepthook
        threading.excepthook = self._report

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._before

    def _report(self, ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is None or find_machine_fault(ended.exc_value) is None:
            self._before(ended)


class _Signals:
    """Convert SIGTERM, SIGHUP and Ctrl-C to KeyboardInterrupt within a block, and record whether one was received.

    The message of the KeyboardInterrupt is the name of the signal. After the first signal only Ctrl-C interrupts again.
    """

    def __init__(self) -> None:
        self.received = False
        self.ending = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        self._handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._interrupt)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # `nohup` ignores it
            self._handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._interrupt)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # ignored in background jobs
            self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        if self.ending or (self.received and number != signal.SIGINT):  # shells, `timeout` and `uv run` repeat a signal
            return
        self.received = True
        raise KeyboardInterrupt("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)


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
        while True:
            try:
                return os.write(self._number, content)
            except BlockingIOError:  # a full pipe that its reader, such as ssh, has made non-blocking
                select.select([], [self._number], [])
            except OSError as error:
                self._handle_failure(error)
                return len(memoryview(content).cast("B"))

    def _handle_failure(self, error: OSError) -> None:
        if error.errno in GONE:
            _connect_to_nothing(self._number)
        elif self._number != 2 and not self._is_reported:
            self._is_reported = True
            print(f"output cannot be written ({error.strerror}); going on without it", file=sys.stderr)


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
