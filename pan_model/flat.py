"""Flat configurations: convert a dataclass from and to scalars such as {"lambda": 1e-05, "gate": "XNOR", ..}."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pan_model.errors import UserError

Scalar = str | int | float | bool
LARGEST_EXACT = 2**53
"""Every integer below this value is exactly representable as a float."""
Config = TypeVar("Config")


def key_of(field_name: str) -> str:
    """Return the flat key of a field: its name without the underscore that avoids a Python keyword.

    >>> key_of("lambda_")
    'lambda'
    """
    return field_name.removesuffix("_")


def keys_of(kind: type) -> list[str]:
    """Return the flat keys of a dataclass."""
    return [key_of(field.name) for field in fields(kind)]


def read_flat(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a dataclass of scalars from its keys in `values`; other keys are ignored.

    Raises:
        UserError: A key is missing, or a value has another type or violates a rule of the dataclass.
    """
    hints = get_type_hints(kind)
    given = {
        name: _read_scalar(key_of(name), hint, values[key_of(name)])
        for name, hint in hints.items()
        if key_of(name) in values
    }
    if missing := [key for key in _required_keys_of(kind) if key not in values]:
        raise UserError(f"the configuration lacks {', '.join(missing)}.")
    return kind(**given)


def write_flat(config: Any) -> dict[str, Scalar]:
    """Return a dataclass of scalars as flat keys, without fields that are None."""
    written = {key_of(field.name): getattr(config, field.name) for field in fields(config)}
    return {
        key: str(value) if isinstance(value, Enum) else value for key, value in written.items() if value is not None
    }


def _required_keys_of(kind: type) -> list[str]:
    return [key_of(field.name) for field in fields(kind) if field.default is MISSING]


def _read_scalar(key: str, hint: Any, value: Any) -> Any:
    kind = _without_none(hint)
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            choices = ", ".join(str(choice.value) for choice in kind)
            raise UserError(f"{key} must be one of {choices}, got {value!r}.") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST_EXACT:
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{key} must be of type {kind.__name__}, got {value!r}.")
    return value


def _without_none(hint: Any) -> type:
    if get_origin(hint) in (types.UnionType, Union):
        return next(member for member in get_args(hint) if member is not type(None))
    return hint
