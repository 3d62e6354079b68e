"""Typed JSON files: a base model, and readers that report the errors of pydantic as one line about a file.

Example:
    The model of a file declares its fields and their types::

        class HostJson(JsonModel, extra="forbid"):
            address: str
            pid: Annotated[int, Field(ge=0)]


        host = read_model(folder / "host.json", HostJson, "remove it")
"""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from pan_model.errors import UserError
from pan_model.files import decode_user_text
from study.storage.files import read_if_exists
from study.storage.location import Location

MAX_SHOWN_CHARS = 60
"""Length after which a value in an error message is truncated."""


class JsonModel(BaseModel):
    """Base of models of JSON files: immutable, no conversion between types, unknown fields ignored.

    Declare a model with ``extra="forbid"`` to reject unknown fields, and with ``extra="allow"`` to keep them.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


def _check_scalar(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        raise ValueError("must be a finite number")
    if not isinstance(value, str | int | float):
        raise ValueError("must be a string, a number or a boolean")
    return value


JsonScalar = Annotated[str | int | float | bool, PlainValidator(_check_scalar)]
"""A string, a finite number or a boolean, as the values of a trial's configuration are."""

M = TypeVar("M", bound=JsonModel)


def read_model(path: Location, model: type[M], way_out: str) -> M:
    """Read a JSON file and validate it.

    Args:
        path: The file, on a disk or in an object store.
        model: The model of the file's content.
        way_out: The way out if the file is damaged: an imperative without a full stop, for the message.

    Returns:
        The content as an instance of `model`.

    Raises:
        UserError: If the file is missing, unreadable, not JSON or does not match the model. The message is one line
            that names the file, the field, the rule, the value and the way out.
        StoreError: If an object store does not answer.
    """
    content = read_if_exists(path, way_out)
    if content is None:
        raise UserError(f"{path}: cannot be read (No such file or directory); {way_out}.")
    return parse_model(path, content, model, way_out)


def parse_model(path: Location, content: bytes, model: type[M], way_out: str) -> M:
    """Validate the content of a JSON file; see `read_model`."""
    try:
        return model.model_validate_json(decode_user_text(content))
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(error.errors(include_url=False))}; {way_out}.") from error
    except UserError as error:
        raise UserError(f"{path}: is not JSON ({error}); {way_out}.") from error


def _describe(errors: Sequence[ErrorDetails]) -> str:
    """Describe the errors in one line: all missing fields, or the first value that breaks a rule."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"is not JSON ({first['msg'].removeprefix('Invalid JSON: ')})"
    missing = [_field(error) for error in errors if error["type"] == "missing"]
    if missing:
        return f"lacks {', '.join(missing)}"
    if first["type"] == "extra_forbidden":
        return f"{_field(first)} is an unknown field"
    return f"{_field(first)} {_rule(first)}, got {_shown(first['input'])}"


def _field(error: ErrorDetails) -> str:
    return ".".join(str(step) for step in error["loc"]) or "the whole file"


def _rule(error: ErrorDetails) -> str:
    """Return the broken rule as a clause that begins with "must"."""
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "must be an object"
    if error["type"] in ("list_type", "tuple_type"):
        return "must be a list"
    if error["type"] == "too_short":
        return f"must have at least {error.get('ctx', {})['min_length']} item(s)"
    return re.sub(r"^(Input|String|List|Dictionary|Tuple) should", "must", error["msg"].removeprefix("Value error, "))


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=repr)
    return shown if len(shown) <= MAX_SHOWN_CHARS else f"{shown[: MAX_SHOWN_CHARS - 3]}..."
