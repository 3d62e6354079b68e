"""Flags on the command line and in a TOML file, as the fields of StudyConfig and FinalConfig declare them."""

import argparse
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from pan_model.command_line import OneLineParser
from pan_model.errors import UserError
from pan_model.files import decode_user_text
from study.app.ablation.config import AblationConfig
from study.config.final_config import FinalConfig
from study.config.flags import Flag, Group, flags_of
from study.config.restrictions import ENCODER, Kind, parameter_in
from study.config.search_space import parameters_elsewhere
from study.config.study_config import StudyConfig

Choice = TypeVar("Choice", bound=StrEnum)

CONFIG_HELP = "read flags from a TOML file; those on the command line win"


def read_study_config(words: Sequence[str]) -> StudyConfig:
    """Build the study's configuration from the command line; flags win over the file that --config names."""
    parser = run_parser()
    given = parser.parse(words)
    if given.config is None:
        file = FileFlags([], {})
    else:
        file = _read_toml(Path(given.config), parser, overridden=_restricted_by(given))
    values = vars(parser.parse([*file.words, *words]))
    values.pop("config")
    try:
        return StudyConfig(**values)
    except UserError as error:
        raise UserError(file.name_places(str(error))) from error


def read_final_config(words: Sequence[str]) -> FinalConfig:
    """Build the configuration of study/final.py from the command line."""
    return FinalConfig(**vars(final_parser().parse(words)))


def read_ablation_config(words: Sequence[str]) -> AblationConfig:
    """Build the configuration of study/ablate.py from the command line."""
    return AblationConfig(**vars(ablation_parser().parse(words)))


def run_parser() -> OneLineParser:
    """Build the parser of study/run.py."""
    parser = _StudyParser(
        prog="study/run.py",
        description="Search, collate, export and report: one study of PAN on one or more datasets.",
        epilog="example:\n  uv run study/run.py --dataset cub --data-root data --num-trials 64 --name birds",
    )
    _add_flags(parser, StudyConfig)
    parser.add_argument("--config", metavar="FILE.toml", help=CONFIG_HELP)
    return parser


def final_parser() -> OneLineParser:
    """Build the parser of study/final.py."""
    parser = OneLineParser(
        prog="study/final.py",
        description="Train a best configuration on train + val, and test it once.",
        epilog="example:\n  uv run study/final.py results/birds/cub/best_config.json --data-root data --seeds 5",
    )
    _add_flags(parser, FinalConfig)
    return parser


def ablation_parser() -> OneLineParser:
    """Build the parser of study/ablate.py."""
    parser = OneLineParser(
        prog="study/ablate.py",
        description="Train a best configuration with one parameter changed at a time, and compare on val.",
        epilog=(
            "example:\n  uv run study/ablate.py results/birds/cub/best_config.json --data-root data --seeds 3 \\\n"
            "    --vary lambda=1e-5,1e-3,0.1,10 --vary gate=OR,XNOR,AND"
        ),
    )
    _add_flags(parser, AblationConfig)
    return parser


def flag_table(config: type[StudyConfig | FinalConfig | AblationConfig]) -> str:
    """Return the Markdown table of a configuration's flags that docs/flags.md contains."""
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
        for config in (AblationConfig, FinalConfig, StudyConfig)
        for field, flag in flags_of(config).items()
        if not flag.positional
        for name in (field, flag.name.replace("-", "_"))
    }

    def name(rule: re.Match[str]) -> str:
        named = [flags.get(field, field) for field in rule.group(1, 3)]
        return f"{named[0]} must {rule[2]}{named[1]}" if rule[2] else f"{named[0]} must {rule[3]}"

    return RULE.sub(name, message)


def _add_flags(parser: OneLineParser, config: type[StudyConfig | FinalConfig | AblationConfig]) -> None:
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
        options |= {"nargs": "+", "action": _MoreNames if flag.repeated else _Names}
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


class _MoreNames(_Names):
    """Add several names to a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        super().__call__(parser, namespace, (*getattr(namespace, self.dest), *values), option_string)


class _StudyParser(OneLineParser):
    """The parser of study/run.py. Its hint for a parameter of the search space is the flag that restricts it."""

    def hint(self, unknown: Sequence[str]) -> str:
        """Return what may be meant by words that are no flags."""
        written, separator, joined = unknown[0].partition("=")
        name = written.removeprefix("--").replace("-", "_")
        parameters = {parameter for names in parameters_elsewhere().values() for parameter in names}
        near = [*difflib.get_close_matches(name, {*parameters, *self.flags}, n=1), ""][0]
        if not written.startswith("--") or near not in parameters:
            return super().hint(unknown)
        following = unknown[1] if len(unknown) > 1 and not unknown[1].startswith("--") else "VALUE"
        value = joined if separator else following
        flag = "--range" if ":" in value else "--choices" if "," in value else "--fix"
        return f"did you mean {flag} {near}={value}?"


class FileFlags(NamedTuple):
    """The flags of a TOML file.

    Attributes:
        words: The words of an equivalent command line.
        places: Where in the file a restriction of the search space is, by its flag and value.
    """

    words: list[str]
    places: dict[str, str]

    def name_places(self, message: str) -> str:
        """Replace restrictions that are in the file by their place."""
        for flag, place in self.places.items():
            message = message.replace(flag, place)
        return message


def _restricted_by(given: argparse.Namespace) -> set[str]:
    """Return the parameters that the command line restricts."""
    texts = [text for kind in Kind for text in getattr(given, DESTINATIONS[kind])]
    return {parameter_in(text) for text in texts} | (set() if given.encoders is None else {ENCODER})


DESTINATIONS = {Kind.FIX: "fix", Kind.RANGE: "ranges", Kind.CHOICES: "choices"}
"""The field of each flag that restricts a parameter."""


def _read_toml(path: Path, parser: OneLineParser, overridden: Collection[str]) -> FileFlags:
    """Read the flags of a TOML file.

    Args:
        path: The file.
        parser: The parser of the command line.
        overridden: Parameters of the search space whose restriction in the file does not count.
    """
    try:
        table = tomllib.loads(decode_user_text(path.read_bytes()))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UserError(f"{path}: is not TOML ({error}).") from error
    flags = {action.option_strings[0].removeprefix("--"): action for action in parser.flags.values()}
    del flags["config"]
    restrictions = [
        (kind, text, f"{path}: [space] {parameter_in(text)}") for kind, text in _read_space(path, table.pop(SPACE, {}))
    ]
    given: dict[str, list[str]] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in flags:
            raise UserError(f"{path}: unknown key '{key}'{_hint_for_key(key, value, flags)}")
        if name in given:
            raise UserError(f"{path}: {key} is given twice, with _ and with -; keep one.")
        given[name] = _words_of_key(path, key, f"--{name}", value, flags[name])
        if name in tuple(Kind):  # given below, without those that the command line overrides
            given[name] = []
            restrictions += [(Kind(name), str(text), f"{path}: {key} {text}") for text in _as_list(value)]
    if ENCODER in overridden:
        given.pop("encoders", None)
    kept = [restriction for restriction in restrictions if parameter_in(restriction[1]) not in overridden]
    words = [word for of_key in given.values() for word in of_key] + [f"--{kind}={text}" for kind, text, _ in kept]
    try:
        parser.parse(words)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return FileFlags(words, {f"--{kind} {text}": place for kind, text, place in kept})


SPACE = "space"
"""The table of a TOML file that restricts parameters of the search space."""

SPACE_FORMS = 'a value, "LOW:HIGH", {low = LOW, high = HIGH} or a list of values'


def _read_space(path: Path, table: Any) -> Iterator[tuple[Kind, str]]:
    """Yield the flag and its value for every key of the table [space]."""
    if not isinstance(table, dict):
        raise UserError(f"{path}: space must be a table, [space], got {table!r}.")
    named: dict[str, str] = {}
    for key, value in cast(dict[str, Any], table).items():
        name = key.replace("-", "_")
        if name in named:
            raise UserError(f"{path}: [space] {key} is given twice, with _ and with -; keep one.")
        named[name] = key
        yield _read_space_value(f"{path}: [space] {key}", name, value)


def _read_space_value(place: str, name: str, value: Any) -> tuple[Kind, str]:
    expected = f"{place}: expected {SPACE_FORMS}, got {value!r}."
    values: list[Any] = _as_list(value)
    if isinstance(value, dict):
        ends = cast(dict[str, Any], value)
        if ends.keys() != {"low", "high"}:
            raise UserError(expected)
        values = [ends["low"], ends["high"]]
    if not values or not all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values):
        raise UserError(expected)
    words = [str(one) for one in values]
    if any(set(word) & {"=", ":", ","} for word in words) and (len(words) > 1 or isinstance(value, list | dict)):
        raise UserError(expected)
    if isinstance(value, dict):
        return Kind.RANGE, f"{name}={':'.join(words)}"
    if len(words) > 1 or "," in words[0]:
        return Kind.CHOICES, f"{name}={','.join(words)}"
    return (Kind.RANGE if ":" in words[0] else Kind.FIX), f"{name}={words[0]}"


def _as_list(value: Any) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else [value]


def _hint_for_key(key: str, value: Any, flags: Collection[str]) -> str:
    """Return what may be meant by an unknown key, after the key."""
    name = key.replace("-", "_")
    if any(name in names for names in parameters_elsewhere().values()):
        return f"; a parameter of the search space belongs into the table [{SPACE}], as {name} = {value!r}."
    near = difflib.get_close_matches(key.replace("_", "-"), flags, n=1)
    return f"; did you mean '{near[0]}'?" if near else "."


def _words_of_key(path: Path, key: str, option: str, value: Any, action: argparse.Action) -> list[str]:
    if isinstance(action, argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise UserError(f"{path}: {key} must be true or false, got {value!r}.")
        return [option if value else option.replace("--", "--no-", 1)]
    values = value if isinstance(value, list) and isinstance(action, _Names) else [value]
    if any(isinstance(element, bool | list | dict) for element in values):
        raise UserError(f"{path}: {key} must be a single value of its flag's kind, got {value!r}.")
    return [f"{option}={values[0]}"] if len(values) == 1 else [option, *map(str, values)]
