"""What the commands of this package share: an error of the user's is one line on stderr and exit code 2."""

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pan_model.errors import UserError

BAD_INPUT = 2
INTERRUPTED = 130


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are UserError, with the nearest flag for one that is not there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_DefaultsFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise UserError with argparse's own words."""
        raise UserError(f"{message}; --help shows every flag.")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all words; UserError for what is left over, and for the one value that argparse loses."""
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
        """Every flag by the name of the value that it sets."""
        return {action.dest: action for action in self._actions if action.dest != "help" and action.option_strings}


class _DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Append a flag's default to its help, unless it is off or the help has it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or "(default: " in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def answer(command: Callable[[], None]) -> int:
    """Run a command and give its exit code: 0, 2 for bad input, 130 when it was interrupted."""
    try:
        command()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
