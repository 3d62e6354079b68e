"""The flags of study/run.py, on the command line or in a TOML file."""

import argparse
import difflib
import re
import tomllib
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pan_model.backbones import Pooling
from pan_model.data.reader_options import PolyvoreSplit
from pan_model.data.registry import DATASETS
from pan_model.encoders import ENCODERS
from pan_model.errors import BadInput
from study.config import FinalConfig, Regime, Sampler, Scheduler, StudyConfig

Choice = TypeVar("Choice", bound=StrEnum)
SECONDS = {"s": 1, "m": 60, "h": 3600}


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are BadInput, with the nearest flag for one that is not there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_DefaultsThatAreThere, **options)

    def error(self, message: str) -> NoReturn:
        """Raise BadInput with argparse's own words."""
        raise BadInput(f"{message}; --help shows every flag.")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all words; BadInput for what is left over."""
        parsed, unknown = self.parse_known_args(words)
        if unknown:
            near = difflib.get_close_matches(unknown[0].split("=")[0], self._option_string_actions, n=1)
            hint = f"did you mean {near[0]}?" if near else "--help shows every flag."
            raise BadInput(f"unknown flag or stray word '{unknown[0]}'; {hint}")
        return parsed

    @property
    def flags(self) -> dict[str, argparse.Action]:
        """Every flag by the name it has in a TOML file, with underscores."""
        return {action.dest: action for action in self._actions if action.dest != "help" and action.option_strings}


def parse_duration(text: str) -> float:
    """Read a duration such as 90s, 30m, 2h or 1.5h; gives seconds.

    >>> parse_duration("30m")
    1800.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found or float(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 30m or 2h, got '{text}'")
    return float(found[1]) * SECONDS[found[2]]


def read_study_config(words: Sequence[str]) -> StudyConfig:
    """Make the study's configuration of the command line's words; flags win over the file that --config names."""
    parser = run_parser()
    config_file = parser.parse(words).config
    from_file = [] if config_file is None else _words_of_toml(Path(config_file), parser)
    values = vars(parser.parse([*from_file, *words]))
    values.pop("config")
    return StudyConfig(**values)


def read_final_config(words: Sequence[str]) -> FinalConfig:
    """Make the configuration of study/final.py of the command line's words."""
    parser = OneLineParser(
        prog="study/final.py", description="Train a best configuration on train + val, and test it once."
    )
    parser.set_defaults(**{name: field.default for name, field in FinalConfig.__dataclass_fields__.items()})
    parser.add_argument("best_config", type=Path, metavar="best_config.json", help="made by study/run.py")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="holds the dataset's folder")
    parser.add_argument("--seeds", type=int, metavar="N", help="trains from seeds 0..N-1")
    parser.add_argument("--output", type=Path, metavar="DIR", help="final/ beside best_config.json when not given")
    parser.add_argument("--weights", metavar="W", help="the backbone's weights, where they lie elsewhere by now")
    parser.add_argument(
        "--attribute-words",
        type=Path,
        metavar="FILE",
        help="polyvore: the study's words, where they lie elsewhere by now",
    )
    _add_cache_and_bad_images(parser)
    return FinalConfig(**vars(parser.parse(words)))


def run_parser() -> OneLineParser:
    """The parser of study/run.py; every flag's default is StudyConfig's own."""
    parser = OneLineParser(
        prog="study/run.py", description="Search, collate, export and report: one study of PAN on one or more datasets."
    )
    parser.set_defaults(**{name: field.default for name, field in StudyConfig.__dataclass_fields__.items()})
    _add_what_to_study(parser)
    _add_how_to_search(parser)
    _add_what_to_use(parser)
    _add_cache_and_bad_images(parser)
    parser.add_argument("--config", metavar="FILE.toml", help="flags from a file; those on the command line win")
    return parser


def _add_what_to_study(parser: OneLineParser) -> None:
    group = parser.add_argument_group("what is studied, and where it goes")
    group.add_argument(
        "--dataset",
        dest="datasets",
        nargs="+",
        metavar="NAME",
        type=str,
        action=_Names,
        help=f"{', '.join(DATASETS)} (default: demo)",
    )
    group.add_argument(
        "--data-root", type=Path, metavar="DIR", help="holds the datasets' folders; the demo is drawn there"
    )
    group.add_argument("--output", type=Path, metavar="DIR", help="results go to DIR/NAME")
    group.add_argument("--name", help="the study's name; the datasets' names joined by - when not given")
    group.add_argument("--resume", action=argparse.BooleanOptionalAction, help="go on with the study of that name")
    group.add_argument(
        "--dry-run", action=argparse.BooleanOptionalAction, help="print the study and its space, start nothing"
    )
    group.add_argument(
        "--backbone", metavar="NAME", help="a torchvision classification model; per dataset when not given"
    )
    group.add_argument(
        "--weights", metavar="W", help="imagenet, random, or a state-dict file; per dataset when not given"
    )
    group.add_argument(
        "--image-size", type=int, metavar="PX", help="side of the square the backbone sees; per dataset when not given"
    )
    group.add_argument(
        "--pooling",
        type=_choice(Pooling),
        metavar="|".join(Pooling),
        help="what is taken of each feature over the map; max as in ProxyNCA++",
    )
    group.add_argument(
        "--regime",
        type=_choice(Regime),
        metavar="|".join(Regime),
        help="frozen: features are extracted once and shared",
    )
    group.add_argument(
        "--polyvore-split",
        type=_choice(PolyvoreSplit),
        metavar="|".join(PolyvoreSplit),
        help="polyvore: which of its versions; nondisjoint when not given",
    )
    group.add_argument(
        "--attribute-words",
        type=Path,
        metavar="FILE",
        help="polyvore: words that are its attributes, one a line; those of most training items when not given",
    )


def _add_cache_and_bad_images(parser: OneLineParser) -> None:
    parser.add_argument(
        "--skip-bad-images",
        action=argparse.BooleanOptionalAction,
        help="leave unreadable images out, counted and listed",
    )
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="features and the paper_setting baseline, by content key; outside output and data",
    )


def _add_how_to_search(parser: OneLineParser) -> None:
    group = parser.add_argument_group("how it is searched")
    group.add_argument(
        "--num-trials", type=int, metavar="N", help="trials for each dataset; per dataset when not given"
    )
    group.add_argument("--max-epochs", type=int, metavar="E", help="epochs of a full trial; per dataset when not given")
    group.add_argument(
        "--time-budget", dest="time_budget_s", type=parse_duration, metavar="T", help="such as 90s, 30m, 2h"
    )
    group.add_argument(
        "--encoders",
        nargs="+",
        metavar="NAME",
        type=str,
        action=_Names,
        help=f"those to search, of {', '.join(ENCODERS)}; per dataset when not given",
    )
    group.add_argument(
        "--sampler", type=_choice(Sampler), metavar="|".join(Sampler), help="tpe learns from finished trials"
    )
    group.add_argument(
        "--scheduler", type=_choice(Scheduler), metavar="|".join(Scheduler), help="asha stops weak trials early"
    )
    group.add_argument(
        "--grace-epochs", type=int, metavar="E", help="epochs before asha may stop; a third of max when not given"
    )
    group.add_argument("--reduction-factor", type=float, metavar="F", help="asha lets the best 1/F go on at each rung")
    group.add_argument("--seed", type=int, help="the study's seed, and every trial's")


def _add_what_to_use(parser: OneLineParser) -> None:
    group = parser.add_argument_group("what it may use")
    group.add_argument("--cpus-per-trial", type=int, metavar="N", help="CPU cores, and threads, of a trial")
    group.add_argument(
        "--gpus-per-trial", type=float, metavar="F", help="share of a GPU; all GPUs are shared when not given"
    )
    group.add_argument("--max-concurrent", type=int, metavar="N", help="trials at a time; all slots when not given")
    group.add_argument("--max-failures", type=int, metavar="N", help="how often a trial whose worker died starts again")
    group.add_argument(
        "--ray-address", metavar="ADDRESS", help="a running Ray cluster; a local one is started when not given"
    )


class _DefaultsThatAreThere(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a flag's default, unless it depends on the dataset or the machine: then the help says so."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or isinstance(action.default, tuple):
            return action.help
        return super()._get_help_string(action)


def _choice(kind: type[Choice]) -> Callable[[str], Choice]:
    def read(text: str) -> Choice:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"choose from {', '.join(kind)}, got '{text}'") from None

    return read


class _Names(argparse.Action):
    """Keeps the names as a tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, tuple(values))


def _words_of_toml(path: Path, parser: OneLineParser) -> list[str]:
    """Turn a TOML file into the words that would say the same on a command line."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise BadInput(f"{path}: is not TOML ({error}).") from error
    flags = {action.option_strings[0].removeprefix("--"): action for action in parser.flags.values()}
    del flags["config"]
    given: dict[str, list[str]] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in flags:
            near = difflib.get_close_matches(name, flags, n=1)
            raise BadInput(f"{path}: unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else "."))
        if name in given:
            raise BadInput(f"{path}: {key} is given twice, with _ and with -; keep one.")
        given[name] = _words_of_key(path, key, f"--{name}", value, flags[name])
    words = [word for of_key in given.values() for word in of_key]
    try:
        parser.parse(words)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    return words


def _words_of_key(path: Path, key: str, option: str, value: Any, action: argparse.Action) -> list[str]:
    if isinstance(action, argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise BadInput(f"{path}: {key} must be true or false, got {value!r}.")
        return [option if value else option.replace("--", "--no-", 1)]
    values = value if isinstance(value, list) and isinstance(action, _Names) else [value]
    if any(isinstance(one, bool | list | dict) for one in values):
        raise BadInput(f"{path}: {key} must be a single value of its flag's kind, got {value!r}.")
    return [f"{option}={values[0]}"] if len(values) == 1 else [option, *map(str, values)]
