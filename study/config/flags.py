"""Declaration of flags: metadata on the fields of a configuration.

`study.app.flags` derives the parser, `--help`, the keys of a TOML file and the table of docs/flags.md from the
metadata, and `StudyConfig.signed` the signature of a study.
"""

import argparse
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Any, Required, TypedDict, TypeVar, Unpack

from pan_model.errors import UserError
from study.storage.location import Location, locate

Value = TypeVar("Value")
SECONDS = {"s": 1, "m": 60, "h": 3600}


class Group(StrEnum):
    """Headings of `--help`."""

    STUDY = "study, data and results"
    BACKBONE = "backbone"
    SEARCH = "search"
    RESOURCES = "resources"


class Signed(Enum):
    """Whether a flag's value is part of the signature, which must be the same for a study to be resumed."""

    NO = auto()
    """Not signed."""
    STUDY = auto()
    """Signed once, for the study."""
    DATASET = auto()
    """Signed for each dataset, after its defaults are filled in."""
    CONTENT = auto()
    """Signed by the content of the named file or choice, not by its name."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag, or the positional argument of a configuration.

    Attributes:
        name: The flag without its dashes.
        read: Converts a word into a value; bool makes a switch, a StrEnum a choice.
        metavar: The placeholder of the value in `--help`.
        help: The meaning, in Markdown with backticks only.
        group: The heading it belongs to.
        default: The default value; None if it depends on the dataset or the machine.
        default_text: The default in words, in Markdown; if empty, the default value is shown.
        environment: The environment variable that replaces the default.
        signed: Whether and how the value is signed.
        many: Whether it takes several values.
        repeated: Whether it may be given again, for further values.
        positional: Whether it is an argument without dashes.
    """

    name: str
    read: Callable[[str], Any]
    metavar: str
    help: str
    group: Group
    default: Any
    default_text: str = ""
    environment: str = ""
    signed: Signed = Signed.NO
    many: bool = False
    repeated: bool = False
    positional: bool = False

    @property
    def option(self) -> str:
        """The flag with its dashes."""
        return f"--{self.name}"

    @property
    def choices(self) -> type[StrEnum] | None:
        """The values to choose from, if it is a choice."""
        return self.read if isinstance(self.read, type) and issubclass(self.read, StrEnum) else None


class FlagOptions(TypedDict, total=False):
    """Optional arguments of a declaration; see `Flag`."""

    group: Required[Group]
    name: str
    default_text: str
    environment: str
    signed: Signed
    many: bool
    repeated: bool


def flag(default: Value, read: Callable[[str], Any], metavar: str, help: str, **options: Unpack[FlagOptions]) -> Value:
    """Declare a field of a configuration as a flag; see `Flag` for the arguments. The default name is the field's."""
    return field(default=default, metadata={"read": read, "metavar": metavar, "help": help, **options})


def argument(read: Callable[[str], Any], metavar: str, help: str) -> dict[str, Any]:
    """Return the metadata of a field that is a required positional argument."""
    return {"read": read, "metavar": metavar, "help": help, "group": Group.STUDY, "positional": True}


def same_flag(config: type[Any], name: str) -> Any:
    """Declare a field as the same flag as a field of another configuration."""
    declared: Field[Any] = config.__dataclass_fields__[name]
    return field(default=declared.default, metadata=declared.metadata)


def flags_of(config: type[Any]) -> dict[str, Flag]:
    """Return the flags of a configuration by the names of its fields."""
    flags: dict[str, Flag] = {}
    for declared in fields(config):
        options: dict[str, Any] = {"name": declared.name.replace("_", "-"), **declared.metadata}
        default = None if declared.default is MISSING else declared.default
        flags[declared.name] = Flag(default=default, **options)
    return flags


def read_duration(text: str) -> float:
    """Read a duration such as 90s, 30m, 2h or 1.5h; return seconds.

    >>> read_duration("30m")
    1800.0
    """
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not matched or float(matched[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 30m or 2h, got '{text}'")
    return float(matched[1]) * SECONDS[matched[2]]


def read_location(text: str) -> Location:
    """Read a folder or the URL of an object store."""
    try:
        return locate(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def read_folder(text: str) -> Path:
    """Read a folder of this machine."""
    if "://" in text:
        raise argparse.ArgumentTypeError(f"must be a folder of this machine, or one that all share, got '{text}'")
    return Path(text)
