"""Problems of a cluster file, and typed access to values of a YAML document."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem in a cluster file.

    Attributes:
        where: Path of the key in the file, such as `provider.region`; empty for the file as a whole.
        what: One line with the rule, the value that was found and the way out.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what}" if self.where else self.what)


LONGEST_LINE = 500
"""Longer lines are shortened in the middle, where the value is: the rule stands before it, the way out behind it."""


def one_line(text: str) -> str:
    r"""Return a text as one printable line of at most LONGEST_LINE characters.

    Line breaks, tabs and other control characters become one space each run.

    >>> one_line("got 'make\n\tsetup'; remove it."), len(one_line("x" * 9000))
    ("got 'make setup'; remove it.", 500)
    """
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]*[\x00-\x1f\x7f-\x9f\u2028\u2029]\s*", " ", text).strip()
    if len(line) <= LONGEST_LINE:
        return line
    end = 160
    return f"{line[: LONGEST_LINE - end - 4]} .. {line[-end:]}"


def mapping(value: object) -> dict[str, Any]:
    """Return a mapping as it is, and {} for anything else, which the schema check reports."""
    return cast(dict[str, Any], value) if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """Return a list as it is, and [] for anything else, which the schema check reports."""
    return list(cast(Sequence[Any], value)) if isinstance(value, list) else []


def integer(value: object, default: int = 0) -> int:
    """Return an integer as it is, and the default for anything else, which the schema check reports."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean '..'?" with the known name that is most similar, or "" if none is.

    >>> nearest("InstanceTyp", ["ImageId", "InstanceType"]), nearest("colour", ["ImageId"])
    ("; did you mean 'InstanceType'?", '')
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean '{near[0]}'?" if near else ""


def step(where: str, key: str | int) -> str:
    """Return the path of a key or index within `where`.

    >>> step("available_node_types.gpu", "resources"), step("setup_commands", 2), step("", "auth")
    ('available_node_types.gpu.resources', 'setup_commands[2]', 'auth')
    """
    if isinstance(key, int):
        return f"{where}[{key}]"
    return f"{where}.{key}" if where else key


def commands_of(config: dict[str, Any], keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the commands under some keys of a cluster file, each with its path in the file."""
    return [(step(key, index), str(command)) for key in keys for index, command in enumerate(sequence(config.get(key)))]
