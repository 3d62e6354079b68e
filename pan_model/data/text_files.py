"""Lines of the text files that datasets are described in, and what to say of a line that is not as it should be."""

import re
from collections.abc import Iterator
from pathlib import Path

from pan_model.errors import UserError

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of a byte that is not UTF-8
_SHOWN = 80  # characters of a bad line that a message repeats


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the stripped text of every line that is not blank.

    Raises UserError for a file that cannot be read and for a line that is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                text = line.strip()
                if _NOT_UTF8.search(text):
                    raise bad_line(path, number, "UTF-8 text", text)
                if text:
                    yield number, text
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error


def bad_line(path: Path, line: int, expected: str, text: str) -> UserError:
    """Say what was expected on a line and what is there, cut where it is long.

    >>> str(bad_line(Path("images.txt"), 3, "two fields", "one"))
    "images.txt line 3: expected two fields, got 'one'."
    """
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + ".."
    return UserError(f"{path} line {line}: expected {expected}, got {shown!r}.")
