"""Flags on the command line and in a TOML file, as the fields of StudyConfig and FinalConfig declare them."""

import argparse
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pan_model.command_line import OneLineParser
from pan_model.errors import UserError
from pan_model.files import decode_user_text
from study.config.final_config import FinalConfig
from study.config.flags import Flag, Group, flags_of
from study.config.study_config import StudyConfig

Choice = TypeVar("Choice", bound=StrEnum)

CONFIG_HELP = "read flags from a TOML file; those on the command line win"


def read_study_config(words: Sequence[str]) -> StudyConfig:
    """Build the study's configuration from the command line; flags win over the file that --config names."""
    parser = run_parser()
    config_file = parser.parse(words).config
    from_file = [] if config_file is None else _words_of_toml(Path(config_file), parser)
    values = vars(parser.parse([*from_file, *words]))
    values.pop("config")
    return StudyConfig(**values)


def read_final_config(words: Sequence[str]) -> FinalConfig:
    """Build the configuration of study/final.py from the command line."""
    return FinalConfig(**vars(final_parser().parse(words)))


def run_parser() -> OneLineParser:
    """Build the parser of study/run.py."""
    parser = OneLineParser(
        prog="study/run.py", description="Search, collate, export and report: one study of PAN on one or more datasets."
    )
    _add_flags(parser, StudyConfig)
    parser.add_argument("--config", metavar="FILE.toml", help=CONFIG_HELP)
    return parser


def final_parser() -> OneLineParser:
    """Build the parser of study/final.py."""
    parser = OneLineParser(
        prog="study/final.py", description="Train a best configuration on train + val, and test it once."
    )
    _add_flags(parser, FinalConfig)
    return parser


def flag_table(config: type[StudyConfig | FinalConfig]) -> str:
    """Return the Markdown table of a configuration's flags that the README contains."""
    rows = [("flag", "meaning", "default"), ("---", "---", "---")]
    for flag in flags_of(config).values():
        default = f"`{flag.environment}`, or {_default_text(flag)}" if flag.environment else _default_text(flag)
        value = f" {_placeholder(flag)}" if flag.metavar else ""
        name = flag.metavar if flag.positional else f"{flag.option}{value}"
        rows.append((f"`{name}`", flag.help, "required" if flag.positional else default))
    if config is StudyConfig:
        rows.append(("`--config FILE.toml`", CONFIG_HELP, "none"))
    return "".join(f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |\n" for row in rows)


BAR = r"\|"
"""A bar in a cell of a Markdown table."""


RULE = re.compile(r"^(\w+) must (be at most |lie outside |)(\w+)")
"""The beginning of a rule on a configuration's values: a field, and for some rules a second field."""


def name_flags(message: str) -> str:
    """Replace the names of fields in a rule by the flags that the user typed.

    >>> name_flags("grace_epochs must be at most max_epochs, 9, got 10.")
    '--grace-epochs must be at most --max-epochs, 9, got 10.'
    """
    flags = {
        name: flag.option
        for config in (FinalConfig, StudyConfig)
        for field, flag in flags_of(config).items()
        if not flag.positional
        for name in (field, flag.name.replace("-", "_"))
    }

    def name(rule: re.Match[str]) -> str:
        named = [flags.get(field, field) for field in rule.group(1, 3)]
        return f"{named[0]} must {rule[2]}{named[1]}" if rule[2] else f"{named[0]} must {rule[3]}"

    return RULE.sub(name, message)


def _add_flags(parser: OneLineParser, config: type[StudyConfig | FinalConfig]) -> None:
    """Add every flag that a configuration declares, under the heading of its group."""
    flags = flags_of(config)
    for group in Group:
        heading = parser.add_argument_group(group.value)
        for field, flag in flags.items():
            if flag.group is group:
                _add_flag(heading, field, flag)


def _add_flag(group: Any, field: str, flag: Flag) -> None:
    default = os.environ.get(flag.environment) or flag.default if flag.environment else flag.default
    if flag.positional:
        group.add_argument(field, type=flag.read, metavar=flag.metavar, help=_plain(flag.help))
        return
    help_text = f"{flag.help}, or {flag.environment}" if flag.environment else flag.help
    shown = _default_text(flag) if default == flag.default else default
    options: dict[str, Any] = {
        "dest": field,
        "default": default,
        "help": f"{_plain(help_text)} (default: {_plain(str(shown))})".replace("%", "%%"),
    }
    if flag.read is bool:
        group.add_argument(flag.option, action=argparse.BooleanOptionalAction, **options)
        return
    options |= {"metavar": flag.metavar, "type": _reader(flag)}
    if flag.many:
        options |= {"nargs": "+", "action": _Names}
    group.add_argument(flag.option, **options)


def _default_text(flag: Flag) -> str:
    """Return the default in words, in Markdown."""
    if flag.default_text:
        return flag.default_text
    if isinstance(flag.default, bool):
        return "on" if flag.default else "off"
    if isinstance(flag.default, int | float):
        return f"{flag.default:g}"
    return f"`{' '.join(flag.default) if flag.many else flag.default}`"


def _placeholder(flag: Flag) -> str:
    return f"{flag.metavar} [{flag.metavar} ..]" if flag.many else flag.metavar


def _plain(text: str) -> str:
    """Return Markdown without its backticks."""
    return text.replace("`", "")


def _reader(flag: Flag) -> Callable[[str], Any]:
    return flag.read if flag.choices is None else _choice(flag.choices)


def _choice(kind: type[Choice]) -> Callable[[str], Choice]:
    def read(text: str) -> Choice:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"choose from {', '.join(kind)}, got '{text}'") from None

    return read


class _Names(argparse.Action):
    """Store several names as a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, tuple(values))


def _words_of_toml(path: Path, parser: OneLineParser) -> list[str]:
    """Return the content of a TOML file as the words of an equivalent command line."""
    try:
        table = tomllib.loads(decode_user_text(path.read_bytes()))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UserError(f"{path}: is not TOML ({error}).") from error
    flags = {action.option_strings[0].removeprefix("--"): action for action in parser.flags.values()}
    del flags["config"]
    given: dict[str, list[str]] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in flags:
            near = difflib.get_close_matches(name, flags, n=1)
            raise UserError(f"{path}: unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else "."))
        if name in given:
            raise UserError(f"{path}: {key} is given twice, with _ and with -; keep one.")
        given[name] = _words_of_key(path, key, f"--{name}", value, flags[name])
    words = [word for of_key in given.values() for word in of_key]
    try:
        parser.parse(words)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return words


def _words_of_key(path: Path, key: str, option: str, value: Any, action: argparse.Action) -> list[str]:
    if isinstance(action, argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise UserError(f"{path}: {key} must be true or false, got {value!r}.")
        return [option if value else option.replace("--", "--no-", 1)]
    values = value if isinstance(value, list) and isinstance(action, _Names) else [value]
    if any(isinstance(element, bool | list | dict) for element in values):
        raise UserError(f"{path}: {key} must be a single value of its flag's kind, got {value!r}.")
    return [f"{option}={values[0]}"] if len(values) == 1 else [option, *map(str, values)]
