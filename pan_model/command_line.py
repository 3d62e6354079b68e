"""What the commands of this package share: an error of the user's is one line on stderr and exit code 2."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from pan_model.errors import BadInput

BAD_INPUT = 2
INTERRUPTED = 130


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are BadInput."""

    def error(self, message: str) -> NoReturn:
        """Raise BadInput with argparse's own words."""
        raise BadInput(f"{message}; --help shows every flag.")


def answer(command: Callable[[], None]) -> int:
    """Run a command and give its exit code: 0, 2 for bad input, 130 when it was interrupted."""
    try:
        command()
    except BadInput as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0
