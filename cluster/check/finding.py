"""Findings: what would fail or cost money, where in the file it stands, and the way out."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong: its place in the file, and a line that says the rule, what was got and the way out."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


def mapping(value: object) -> dict[str, Any]:
    """The value where it is a mapping, an empty one where it is not; the schema has said so then."""
    return cast(dict[str, Any], value) if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """The value where it is a list, an empty one where it is not; the schema has said so then."""
    return list(cast(Sequence[Any], value)) if isinstance(value, list) else []


def whole(value: object, default: int = 0) -> int:
    """The value where it is a whole number, the default where it is not; the schema has said so then."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion for a name that is not known, ready to follow "unknown ...", or nothing.

    >>> nearest("InstanceTyp", ["ImageId", "InstanceType"]), nearest("colour", ["ImageId"])
    ("; did you mean 'InstanceType'?", '')
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean '{near[0]}'?" if near else ""


def step(where: str, key: str | int) -> str:
    """The place one step further in.

    >>> step("available_node_types.gpu", "resources"), step("setup_commands", 2), step("", "auth")
    ('available_node_types.gpu.resources', 'setup_commands[2]', 'auth')
    """
    if isinstance(key, int):
        return f"{where}[{key}]"
    return f"{where}.{key}" if where else key
