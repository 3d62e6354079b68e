"""Configurations to try first: read the file of `--try`, and complete a configuration in a search space."""

import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from pan_model.errors import UserError
from pan_model.files import decode_user_text
from pan_model.flat import Scalar
from search_spaces import SearchSpace
from study.config.space_description import number_text

OF_THE_STUDY = ("max_epochs", "schedule_epochs", "seed", "pairs_per_epoch", "precision")
"""Keys of a trial's configuration that its study sets. In a best_config.json they are ignored."""


class Given(NamedTuple):
    """A configuration that was given, complete or not.

    Attributes:
        source: Where it is from, for messages and study.json.
        values: The parameters.
        dataset: The dataset that it is for; empty for all.
    """

    source: str
    values: dict[str, Scalar]
    dataset: str = ""


class Fitted(NamedTuple):
    """A configuration that a space can suggest, and a line about each value that was changed or left out."""

    config: dict[str, Scalar]
    changes: list[str]


def read_try_file(path: Path) -> list[Given]:
    """Read configurations from TOML (one table, or tables `[[trial]]`) or JSON (an object, a best_config.json, a list).

    Raises:
        UserError: If the file cannot be read, or an entry is not a table of scalars.
    """
    try:
        text = decode_user_text(path.read_bytes())
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise UserError(f"--try {path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON (a TOML file must be named .toml)"
        raise UserError(f"--try {path}: is not {kind}: {error}.") from error
    entries: Any = content
    if isinstance(content, dict):
        entries = content["trial"] if path.suffix == ".toml" and isinstance(content.get("trial"), list) else [content]
        if entries is not content and "trial" in content and len(content) > 1:
            raise UserError(f"--try {path}: must hold either parameters or tables [[trial]], got both.")
    if not isinstance(entries, list) or not entries:
        raise UserError(f"--try {path}: must hold the parameters of at least one trial, got {content!r:.60}.")
    one = len(entries) == 1
    return [
        _read_entry(f"--try {path}" + ("" if one else f", trial {number}"), entry)
        for number, entry in enumerate(entries, 1)
    ]


def _read_entry(source: str, entry: Any) -> Given:
    if isinstance(entry, dict) and isinstance(entry.get("config"), dict):  # a best_config.json
        values = {key: value for key, value in entry["config"].items() if key not in OF_THE_STUDY}
        entry, dataset = values, str(entry.get("dataset", ""))
    else:
        dataset = ""
    if not isinstance(entry, dict) or not entry:
        raise UserError(f"{source}: must be a table of parameters, got {entry!r:.60}.")
    for key, value in entry.items():
        if not isinstance(value, str | int | float | bool):
            raise UserError(f"{source}: {key} must be a single value, got {value!r:.60}.")
    return Given(source, entry, dataset)


def fit_exactly(given: Given, space: SearchSpace, dataset: str) -> dict[str, Scalar]:
    """Complete a configuration in a space; see `fit` for missing parameters.

    Raises:
        UserError: If a value is not in the space, or a key has no effect there.
    """
    fitted = fit(given.values, space)
    if fitted.changes:
        raise UserError(f"{given.source}: {dataset}: {fitted.changes[0]}.")
    return fitted.config


def fit(values: Mapping[str, Scalar], space: SearchSpace) -> Fitted:
    """Return the configuration of a space that is closest to some values.

    Missing parameters are those of the space's first trial with the same encoder, else of its paper setting. Where
    these have no legal value, it is the middle of the range, or the first choice. A number outside its range is
    replaced by the nearest end; another choice is replaced as if it were missing.
    """
    alike = (trial for trial in space.first_trials if trial.get("encoder") == values.get("encoder", trial["encoder"]))
    guided = _GuidedTrial(values, next(alike, space.paper_setting))
    config = space.suggest(guided)
    changes = list(guided.changes)
    for key in (key for key in values if key not in guided.params):
        if key not in config:
            kind = ", ".join(f"{name} {config[name]}" for name in ("encoder", "supervision") if name in config)
            near = difflib.get_close_matches(key, config, n=1)
            way_out = f"perhaps {near[0]} is meant" if near else "leave it out"
            changes.append(f"{key} is no parameter of a trial with {kind}; {way_out}")
        elif config[key] != values[key]:
            changes.append(f"{key} is {config[key]} in every such trial, got {values[key]}; leave it out")
    return Fitted(config, changes)


class _GuidedTrial(FixedTrial):
    """Suggest given values where they are legal, and note where they are not."""

    def __init__(self, given: Mapping[str, Scalar], base: Mapping[str, Scalar]) -> None:
        super().__init__({})
        self._given, self._base = given, base
        self.changes: list[str] = []

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        value = legal_value(distribution, self._given.get(name))
        if value is None and name in self._given:
            self.changes.append(_describe_illegal(name, distribution, self._given[name]))
            value = _nearest(distribution, self._given[name])
        if value is None:
            value = legal_value(distribution, self._base.get(name))
        if value is None:
            value = _middle(distribution)
        self._suggested_params[name] = value
        self._distributions[name] = distribution
        return value


def legal_value(distribution: BaseDistribution, value: Any) -> Any:
    """Return a value as a distribution has it, or None if it is not in the distribution."""
    if isinstance(distribution, CategoricalDistribution):
        legal = (
            choice for choice in distribution.choices if choice == value and _is_number(choice) == _is_number(value)
        )
        return next(legal, None)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if not _is_number(value) or not distribution.low <= value <= distribution.high:
        return None
    if isinstance(distribution, FloatDistribution):
        return float(value)
    return int(value) if value == int(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nearest(distribution: BaseDistribution, value: Any) -> Any:
    """Return the end of a range that is nearest to a number outside of it, else None."""
    if isinstance(distribution, CategoricalDistribution) or not _is_number(value):
        return None
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if isinstance(value, float) and math.isnan(value):
        return None
    inside = min(max(value, distribution.low), distribution.high)
    return legal_value(distribution, inside) or legal_value(distribution, round(inside))


def _middle(distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    middle = math.sqrt(low * high) if distribution.log else (low + high) / 2
    return min(max(round(middle), low), high) if isinstance(distribution, IntDistribution) else middle


def _describe_illegal(name: str, distribution: BaseDistribution, value: Any) -> str:
    if isinstance(distribution, CategoricalDistribution):
        choices = ", ".join(map(str, distribution.choices))
        flag = "--encoders" if name == "encoder" else "--choices"
        return f"{name} must be one of {choices}, got {value!r}; {flag} sets what is searched"
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "a whole number " if isinstance(distribution, IntDistribution) else ""
    low, high = number_text(distribution.low), number_text(distribution.high)
    return f"{name} must be {kind}in {low} to {high}, got {value!r:.60}; --range {name}=LOW:HIGH sets what is searched"
