"""The flags of study/run.py, on the command line or in a TOML file."""

import argparse
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pan_model.backbones.config import Pooling
from pan_model.command_line import OneLineParser
from pan_model.data.polyvore.reader import PolyvoreSplit
from pan_model.datasets import DATASETS
from pan_model.errors import UserError
from pan_model.model.encoders import ENCODERS
from pan_model.training.backbone.config import BackboneTraining
from study.config.choices import Executor, Regime, Sampler, Scheduler
from study.config.study_config import FinalConfig, StudyConfig
from study.storage.location import Location, locate

Choice = TypeVar("Choice", bound=StrEnum)
SECONDS = {"s": 1, "m": 60, "h": 3600}

FROM_ENVIRONMENT = {
    "output": "PAN_STUDY_OUTPUT",
    "data_root": "PAN_STUDY_DATA_ROOT",
    "cache_dir": "PAN_STUDY_CACHE_DIR",
}
"""Defaults that a machine may have of its own, such as a cluster's shared folders."""


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
    return FinalConfig(**vars(final_parser().parse(words)))


RULE = re.compile(r"^(\w+) must (be at most |lie outside |)(\w+)")
"""How a rule on a configuration's values begins: with a field, which may have to do with another one."""


def name_flags(message: str) -> str:
    """Put flags in place of the fields that a rule is about, for people who typed flags.

    >>> name_flags("grace_epochs must be at most max_epochs, 9, got 10.")
    '--grace-epochs must be at most --max-epochs, 9, got 10.'
    """
    flags = {action.option_strings[0] for parser in (run_parser(), final_parser()) for action in parser.flags.values()}

    def name(rule: re.Match[str]) -> str:
        named = [flag if (flag := f"--{field.replace('_', '-')}") in flags else field for field in rule.group(1, 3)]
        return f"{named[0]} must {rule[2]}{named[1]}" if rule[2] else f"{named[0]} must {rule[3]}"

    return RULE.sub(name, message)


def final_parser() -> OneLineParser:
    """The parser of study/final.py; every flag's default is FinalConfig's own."""
    parser = OneLineParser(
        prog="study/final.py", description="Train a best configuration on train + val, and test it once."
    )
    parser.set_defaults(**{name: field.default for name, field in FinalConfig.__dataclass_fields__.items()})
    parser.set_defaults(**_defaults_of_this_machine("data_root", "cache_dir"))
    parser.add_argument("best_config", type=_location, metavar="best_config.json", help="made by study/run.py")
    parser.add_argument("--data-root", type=_folder, metavar="DIR", help="holds the dataset's folder")
    parser.add_argument("--seeds", type=int, metavar="N", help="trains from seeds 0..N-1")
    parser.add_argument("--output", type=_location, metavar="DIR", help="final/ beside best_config.json when not given")
    parser.add_argument("--weights", metavar="W", help="the backbone's weights, where they lie elsewhere by now")
    parser.add_argument(
        "--attribute-words",
        type=Path,
        metavar="FILE",
        help="polyvore: the study's words, where they lie elsewhere by now",
    )
    _add_how_to_read_images(parser)
    return parser


def run_parser() -> OneLineParser:
    """The parser of study/run.py; every flag's default is StudyConfig's own."""
    parser = OneLineParser(
        prog="study/run.py", description="Search, collate, export and report: one study of PAN on one or more datasets."
    )
    parser.set_defaults(**{name: field.default for name, field in StudyConfig.__dataclass_fields__.items()})
    parser.set_defaults(**_defaults_of_this_machine(*FROM_ENVIRONMENT))
    _add_what_to_study(parser)
    _add_backbone(parser)
    _add_how_to_search(parser)
    _add_what_to_use(parser)
    _add_how_to_read_images(parser)
    parser.add_argument("--config", metavar="FILE.toml", help="flags from a file; those on the command line win")
    return parser


def _defaults_of_this_machine(*names: str) -> dict[str, str]:
    """Those that the environment names; the parser reads them as it reads words."""
    return {name: os.environ[FROM_ENVIRONMENT[name]] for name in names if os.environ.get(FROM_ENVIRONMENT[name])}


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
        "--data-root",
        type=_folder,
        metavar="DIR",
        help="holds the datasets' folders; the demo is drawn there; or PAN_STUDY_DATA_ROOT",
    )
    group.add_argument(
        "--output",
        type=_location,
        metavar="DIR",
        help="results go to DIR/NAME; a folder, or s3://bucket/prefix; or PAN_STUDY_OUTPUT",
    )
    group.add_argument("--name", help="the study's name; the datasets' names joined by - when not given")
    group.add_argument("--resume", action=argparse.BooleanOptionalAction, help="go on with the study of that name")
    group.add_argument(
        "--dry-run", action=argparse.BooleanOptionalAction, help="print the study and its space, start nothing"
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


def _add_backbone(parser: OneLineParser) -> None:
    group = parser.add_argument_group("the backbone, and how it learns")
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
        help="frozen: features are extracted once and shared; finetune: each trial trains the backbone, too",
    )
    group.add_argument(
        "--backbone-training",
        type=_choice(BackboneTraining),
        metavar="|".join(BackboneTraining),
        help="train the backbone on the training split before the search, with triplets or as ProxyNCA++",
    )
    group.add_argument(
        "--backbone-epochs", type=int, metavar="E", help="epochs of --backbone-training; 200 or 50 when not given"
    )


def _add_how_to_read_images(parser: OneLineParser) -> None:
    parser.add_argument(
        "--data-workers",
        type=int,
        metavar="N",
        help="processes that load images where a backbone is trained; per machine when not given, none on a CPU",
    )
    parser.add_argument(
        "--skip-bad-images",
        action=argparse.BooleanOptionalAction,
        help="leave unreadable images out, counted and listed",
    )
    parser.add_argument(
        "--cache-dir",
        type=_folder,
        metavar="DIR",
        help="features, decoded images, trained backbones and the paper_setting baseline; outside output and "
        "data; or PAN_STUDY_CACHE_DIR",
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
    group.add_argument(
        "--max-gpu-hours", type=float, metavar="H", help="end the search when the cluster's GPUs were there for H hours"
    )
    group.add_argument("--max-failures", type=int, metavar="N", help="how often a trial whose worker died starts again")
    group.add_argument(
        "--executor",
        type=_choice(Executor),
        metavar="|".join(Executor),
        help="serial: run trials one after another in this process, without Ray; for debugging and tests",
    )
    group.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="HOST:PORT or auto: a running Ray cluster; local: a Ray of its own; when not given, RAY_ADDRESS, or the "
        "cluster whose head this is, or local",
    )


def _location(text: str) -> Location:
    try:
        return locate(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _folder(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError(f"must be a folder of this machine, or one that all share, got '{text}'")
    return Path(text)


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
    if any(isinstance(one, bool | list | dict) for one in values):
        raise UserError(f"{path}: {key} must be a single value of its flag's kind, got {value!r}.")
    return [f"{option}={values[0]}"] if len(values) == 1 else [option, *map(str, values)]
