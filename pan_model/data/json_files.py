"""Reads JSON files whose values are checked where they are taken out, so that a message can name the place."""

import json
import reprlib
from pathlib import Path
from typing import cast

from pan_model.errors import UserError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80  # characters of a bad value that a message repeats

_WAY_OUT = "the file is damaged: get or make it anew"


def read_json(path: Path) -> object:
    """Read the one value of a JSON file; UserError, with the place and the way out, for a file that is not JSON."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except json.JSONDecodeError as error:
        found = error.doc[error.pos : error.pos + 20]
        place = f"{path} line {error.lineno} column {error.colno}"
        raise UserError(f"{place}: expected JSON ({error.msg}), got {_SHORT.repr(found)}; {_WAY_OUT}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: expected UTF-8 text, got {error.object[error.start : error.end]!r}; {_WAY_OUT}."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of nested lists
        raise UserError(f"{path}: expected JSON, got {' '.join(str(error).split())}; {_WAY_OUT}.") from error


def bad_value(place: str, expected: str, value: object) -> UserError:
    """Make the error that says what should stand at a place and what does; long values are cut.

    >>> bad_value("a.json question 3", "a list", {"b": 1})
    UserError("a.json question 3: expected a list, got {'b': 1}.")
    """
    return UserError(f"{place}: expected {expected}, got {_SHORT.repr(value)}.")


def as_list(value: object, place: str, expected: str) -> list[object]:
    """Take a value for a list; UserError for anything else."""
    if not isinstance(value, list):
        raise bad_value(place, expected, value)
    return cast("list[object]", value)


def as_object(value: object, place: str, expected: str) -> dict[str, object]:
    """Take a value for an object; UserError for anything else."""
    if not isinstance(value, dict):
        raise bad_value(place, expected, value)
    return cast("dict[str, object]", value)


def as_text(value: object, place: str, expected: str) -> str:
    """Take a value for a string; UserError for anything else."""
    if not isinstance(value, str):
        raise bad_value(place, expected, value)
    return value
