"""Command lines: the parser and the exit codes of all commands. Errors of the user are one line on stderr."""

import argparse
import difflib
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn

from pan_model.errors import UserError

BAD_INPUT = 2
INTERRUPTED = 130


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that raises UserError and suggests the nearest flag for an unknown one."""

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
            near = difflib.get_close_matches(unknown[0].split("=")[0], self._option_string_actions, n=1)
            hint = f"did you mean {near[0]}?" if near else "--help shows every flag."
            raise UserError(f"unknown flag or stray word '{unknown[0]}'; {hint}")
        for action in self.flags.values():
            if action.nargs is None and getattr(parsed, action.dest) == []:
                raise UserError(f"argument {action.option_strings[0]}: '--' is no value; --help shows every flag.")
        return parsed

    @property
    def flags(self) -> dict[str, argparse.Action]:
        """The flags by the name of the value that they set."""
        return {action.dest: action for action in self._actions if action.dest != "help" and action.option_strings}


class _DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Append a flag's default to its help, unless it is off or the help has it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or "(default: " in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def run_with_exit_code(
    command: Callable[[], int | None],
    how_to_go_on: str = "",
    *,
    resumable: tuple[type[Exception], ...] = (),
    rephrase: Callable[[str], str] = str,
) -> int:
    """Run a command and return its exit code; errors of the user are one line on stderr.

    SIGTERM and Ctrl-C interrupt the command. A library that is interrupted while it cleans up may raise an error of
    its own: after a signal every error counts as the interrupt's.

    Args:
        command: Returns an exit code, or None for 0.
        how_to_go_on: What the user can do after an interrupt or an error of `resumable`.
        resumable: Errors after which the same command can be run again, such as a store that does not answer.
        rephrase: Applied to the messages of UserError.

    Returns:
        The command's own exit code, 2 for an error of the user, 130 after an interrupt.
    """
    go_on = f"; {how_to_go_on}" if how_to_go_on else ""
    with _Signals() as signals:
        try:
            return command() or 0
        except KeyboardInterrupt:
            signals.received = True
        except (UserError, PermissionError, *resumable) as error:
            if not signals.received:
                line = " ".join(str(error).split())
                line = f"{line}{go_on}" if isinstance(error, resumable) else rephrase(line)
                print(f"error: {line}", file=sys.stderr)
                return BAD_INPUT
        except Exception:
            if not signals.received:
                raise
    print(f"interrupted{go_on}", file=sys.stderr)
    return INTERRUPTED


class _Signals:
    """Turns SIGTERM and Ctrl-C into KeyboardInterrupt within a block, and remembers whether one was received."""

    def __init__(self) -> None:
        self.received = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        self._handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._interrupt)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background shell has it ignored
            self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.received = True
        raise KeyboardInterrupt
