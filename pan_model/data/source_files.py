"""Read text and JSON files of datasets and check the image paths that they list, with errors that name the place."""

import json
import re
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import cast

from pan_model.data.folder.image_files import FoundImages, find_images
from pan_model.errors import UserError
from pan_model.files import decode_user_text, refuse_utf16

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # surrogateescape decodes bytes that are not UTF-8 to these
_SHOWN = 80  # characters of a bad line that a message repeats


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the 1-based number and the stripped text of every line that is not blank.

    Raises:
        UserError: The file cannot be read, or a line is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        try:
            refuse_utf16(start)
        except UserError as error:
            raise UserError(f"{path}: {error}.") from error
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
    """Return an error with the expected and the actual content of a line. Long lines are truncated.

    Args:
        path: The file.
        line: The 1-based number of the line.
        expected: A description of the expected content.
        text: The actual content.

    >>> str(bad_line(Path("images.txt"), 3, "two fields", "one"))
    "images.txt line 3: expected two fields, got 'one'."
    """
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + ".."
    return UserError(f"{path} line {line}: expected {expected}, got {shown!r}.")


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80  # characters of a bad value that a message repeats

_WAY_OUT = "the file is damaged: download or create it again"


def read_json(path: Path) -> object:
    """Read a JSON file. Raise UserError if it cannot be read, or with the line and column if it is not JSON."""
    try:
        return json.loads(decode_user_text(path.read_bytes()))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except UserError as error:
        raise UserError(f"{path}: {error}; {_WAY_OUT}.") from error
    except json.JSONDecodeError as error:
        got = error.doc[error.pos : error.pos + 20]
        place = f"{path} line {error.lineno} column {error.colno}"
        raise UserError(f"{place}: expected JSON ({error.msg}), got {_SHORT.repr(got)}; {_WAY_OUT}.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of nested lists
        raise UserError(f"{path}: expected JSON, got {' '.join(str(error).split())}; {_WAY_OUT}.") from error


def bad_value(place: str, expected: str, value: object) -> UserError:
    """Return an error with the expected and the actual value at a place in a file. Long values are truncated.

    >>> bad_value("a.json question 3", "a list", {"b": 1})
    UserError("a.json question 3: expected a list, got {'b': 1}.")
    """
    return UserError(f"{place}: expected {expected}, got {_SHORT.repr(value)}.")


def as_list(value: object, place: str, expected: str) -> list[object]:
    """Return the value if it is a list, otherwise raise UserError."""
    if not isinstance(value, list):
        raise bad_value(place, expected, value)
    return cast("list[object]", value)


def as_object(value: object, place: str, expected: str) -> dict[str, object]:
    """Return the value if it is a JSON object, otherwise raise UserError."""
    if not isinstance(value, dict):
        raise bad_value(place, expected, value)
    return cast("dict[str, object]", value)


def as_text(value: object, place: str, expected: str) -> str:
    """Return the value if it is a string, otherwise raise UserError."""
    if not isinstance(value, str):
        raise bad_value(place, expected, value)
    return value


HIDDEN = "._"
"""Prefix of the metadata files that macOS writes next to files it copies. They are not images."""

HIDDEN_REASON = f"file name starts with {HIDDEN}"


def is_hidden(name: str) -> bool:
    """Return whether a file is a metadata file of macOS.

    >>> is_hidden("birds/._a.jpg"), is_hidden("birds/a.jpg")
    (True, False)
    """
    return PurePosixPath(name).name.startswith(HIDDEN)


def stays_inside(path: PurePosixPath) -> bool:
    """Return whether a path that is relative to a folder stays inside it.

    >>> stays_inside(PurePosixPath("a/b.jpg")), stays_inside(PurePosixPath("a/../../b.jpg"))
    (True, False)
    """
    return not path.is_absolute() and ".." not in path.parts


def require_images(root: Path, names: Sequence[str], listing: str) -> FoundImages:
    """Return the files of listed images under `root`; see `find_images`.

    Raises:
        UserError: Images are missing. The message names the first and counts all of them.
    """
    return find_images(
        root, names, listing, lambda missing: f"{missing} of the {len(names)} files of {listing} are missing"
    )
