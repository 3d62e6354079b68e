"""Flags as keyword arguments of Python, turned into the command line that is typed otherwise."""

from collections.abc import Mapping, Sequence
from typing import Any

from study.config.final_config import FinalConfig
from study.config.flags import Flag, flags_of
from study.config.study_config import StudyConfig


def to_words(config: type[StudyConfig | FinalConfig], flags: Mapping[str, Any]) -> list[str]:
    """Return the command line of keyword arguments, which has the same checks as one that is typed.

    Args:
        config: The configuration that declares the flags.
        flags: The value of each flag, by its name with `_` for `-`, or by the configuration's field. None is the
            default.

    >>> to_words(StudyConfig, {"dataset": ["cub", "inshop"], "resume": True, "range": {"lambda": (0.1, 1)}})
    ['--dataset', 'cub', 'inshop', '--resume', '--range=lambda=0.1:1']
    """
    known = flags_of(config)
    by_name = {flag.name.replace("-", "_"): flag for flag in known.values()}
    words: list[str] = []
    for key, value in flags.items():
        flag = known.get(key) or by_name.get(key.rstrip("_"))
        if value is not None:
            words += (
                _words_of(f"--{key.rstrip('_').replace('_', '-')}", value) if flag is None else _flag_words(flag, value)
            )
    return words


def _flag_words(flag: Flag, value: Any) -> list[str]:
    if flag.read is bool and isinstance(value, bool):
        return [flag.option if value else flag.option.replace("--", "--no-", 1)]
    if flag.repeated and isinstance(value, Mapping):
        pairs: Mapping[str, Any] = value
        return [f"{flag.option}={name}={_restriction(flag, given)}" for name, given in pairs.items()]
    if flag.name == "time-budget" and isinstance(value, int | float):
        return [f"{flag.option}={value}s"]
    if flag.repeated and not isinstance(value, str):
        return [f"{flag.option}={one}" for one in value]
    return _words_of(flag.option, value)


def _words_of(option: str, value: Any) -> list[str]:
    many = isinstance(value, Sequence) and not isinstance(value, str)
    return [option, *map(str, value)] if many else [f"{option}={value}"]


def _restriction(flag: Flag, value: Any) -> str:
    """Return a value, the ends of a range or choices in the form of a flag."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    return (":" if flag.name == "range" else ",").join(map(str, value))
