"""Restrictions of a search space from outside: --fix, --range and --choices, checked before any work is done.

A restriction replaces the distribution of one parameter. A range keeps the scale of the parameter (whole numbers,
logarithm). Values that the space does not list are allowed where the model's configuration accepts them, except names:
a dataset lists all names that it supports.
"""

import difflib
import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pan_model.errors import UserError
from pan_model.flat import Scalar
from search_spaces import SearchSpace
from search_spaces.restriction import replace_distributions
from study.config.space_description import (
    Suggest,
    describe_distribution,
    explore_space,
    find_condition,
    number_text,
    parameters_of,
    run_branch,
)
from study.config.value_rules import LARGEST

ENCODER = "encoder"
"""The parameter that --encoders restricts, too."""


class Kind(StrEnum):
    """The flags that restrict a parameter: to one value, a range, or some values."""

    FIX = "fix"
    RANGE = "range"
    CHOICES = "choices"


FORMS = {Kind.FIX: "NAME=VALUE", Kind.RANGE: "NAME=LOW:HIGH", Kind.CHOICES: "NAME=VALUE,VALUE"}
"""What each flag expects."""


@dataclass(frozen=True, kw_only=True)
class Restriction:
    """A restriction of one parameter.

    Attributes:
        kind: The flag.
        name: The parameter.
        words: The value, both ends of the range, or the values.
        text: The flag's value as given.
    """

    kind: Kind
    name: str
    words: tuple[str, ...]
    text: str

    @property
    def label(self) -> str:
        """The flag with its value, which begins every message about it."""
        return f"--{self.kind} {self.text}"


def parameter_in(text: str) -> str:
    """Return the parameter that the value of a flag names; `-` and `_` are the same.

    >>> parameter_in("learning-rate=1e-4:1e-2")
    'learning_rate'
    """
    return text.partition("=")[0].strip().replace("-", "_")


def read_restrictions(texts: Mapping[Kind, Sequence[str]]) -> tuple[Restriction, ...]:
    """Parse the values of the three flags.

    Raises:
        UserError: If a value is malformed, or a parameter is given twice.
    """
    restrictions = [_read(kind, text) for kind, values in texts.items() for text in values]
    by_name: dict[str, Restriction] = {}
    for restriction in restrictions:
        if restriction.name in by_name:
            earlier = by_name[restriction.name].label
            raise UserError(f"{restriction.label}: {restriction.name} is given by {earlier}, too; keep one.")
        by_name[restriction.name] = restriction
    return tuple(restrictions)


def _read(kind: Kind, text: str) -> Restriction:
    label, name = f"--{kind} {text}", parameter_in(text)
    _, separator, value = text.partition("=")
    if not separator or not name or not value.strip():
        raise UserError(f"{label}: expected {FORMS[kind]} without spaces, got '{text}'.")
    words = tuple(word.strip() for word in value.split(":" if kind is Kind.RANGE else ","))
    other = {
        Kind.FIX: Kind.RANGE if ":" in value else Kind.CHOICES if "," in value else None,
        Kind.RANGE: None if ":" in value else Kind.CHOICES if "," in value else Kind.FIX,
        Kind.CHOICES: Kind.RANGE if ":" in value else None,
    }[kind]
    if other is not None:
        raise UserError(f"{label}: expected {FORMS[kind]}; for {FORMS[other]} give --{other} {name}={value.strip()}.")
    if not all(words) or (kind is Kind.RANGE and len(words) != 2):
        raise UserError(f"{label}: expected {FORMS[kind]} without spaces, got '{text}'.")
    return Restriction(kind=kind, name=name, words=words, text=text)


class SpaceChoice(NamedTuple):
    """What a study asks of the search spaces: its encoders, and restrictions of the other parameters."""

    encoders: tuple[str, ...] | None
    restrictions: tuple[Restriction, ...]


def choose_by_flags(encoders: tuple[str, ...] | None, texts: Mapping[Kind, Sequence[str]]) -> SpaceChoice:
    """Parse the flags that restrict search spaces; a restriction of `encoder` is the same as --encoders.

    Args:
        encoders: The value of --encoders.
        texts: The values of --fix, --range and --choices.

    Raises:
        UserError: If a value is malformed, or a parameter is given twice.
    """
    restrictions = read_restrictions(texts)
    others = tuple(restriction for restriction in restrictions if restriction.name != ENCODER)
    for restriction in restrictions:
        if restriction.name == ENCODER:
            if encoders is not None:
                raise UserError(f"{restriction.label}: encoder is given by --encoders, too; keep one.")
            if restriction.kind is Kind.RANGE:
                raise UserError(f"{restriction.label}: encoder is a choice; give --choices encoder=VALUE,VALUE.")
            _check_different(restriction, restriction.words)
            return SpaceChoice(restriction.words, others)
    return SpaceChoice(encoders, others)


def check_names(
    restrictions: Sequence[Restriction],
    spaces: Mapping[str, SearchSpace],
    elsewhere: Callable[[], Mapping[tuple[str, str], Collection[str]]],
) -> None:
    """Raise UserError if a restriction names a parameter that no dataset of the study has.

    Args:
        restrictions: The restrictions.
        spaces: The space of each dataset with all encoders.
        elsewhere: Returns the parameters of every dataset and regime.
    """
    known = dict.fromkeys(name for space in spaces.values() for name in parameters_of(space.suggest))
    for restriction in restrictions:
        name = restriction.name
        if name in known:
            continue
        for dataset, space in spaces.items():
            constants = explore_space(space.suggest)[0].constants
            if name in constants:
                value = constants[name]
                raise UserError(f"{restriction.label}: {name} is {value} in every trial of {dataset}, not searched.")
        if flag := {"max_epochs": "--max-epochs E", "seed": "--seed S", "precision": "--precision P"}.get(name):
            raise UserError(f"{restriction.label}: {name} is not a parameter of the search space; give {flag}.")
        if others := [choice for choice, names in elsewhere().items() if name in names]:
            regimes = {f"--regime {regime}" for dataset, regime in others if dataset in spaces}
            flags = regimes or dict.fromkeys(f"--dataset {dataset}" for dataset, _ in others)
            raise UserError(f"{restriction.label}: {name} is a parameter with {' or '.join(flags)} only.")
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}."
        raise UserError(f"{restriction.label}: unknown parameter '{name}'; {hint}")


def restrict(
    space: SearchSpace, restrictions: Sequence[Restriction], *, dataset: str, full: SearchSpace
) -> SearchSpace:
    """Return a space with the distributions of the restricted parameters replaced.

    Args:
        space: The space.
        restrictions: The restrictions; those of parameters that the dataset does not have are ignored.
        dataset: The name of the dataset, for messages.
        full: The space with all encoders, which has every parameter of the dataset.

    Raises:
        UserError: If the dataset or the model does not accept a value.
    """
    parameters, replaced = parameters_of(full.suggest), dict[str, BaseDistribution]()
    chosen_ends: dict[str, tuple[str, ...]] = {}
    for restriction in (restriction for restriction in restrictions if restriction.name in parameters):
        name = restriction.name
        distribution = _restricted(restriction, parameters[name], full.suggest, dataset)
        if distribution != parameters[name]:
            replaced[name] = distribution
            if ends := _chosen_ends(name, distribution, parameters[name], full.suggest):
                chosen_ends[name] = ends
    if not replaced:
        return space
    suggest = replace_distributions(space.suggest, replaced)
    if problem := find_invalid_trial(suggest):
        labels = ", ".join(restriction.label for restriction in restrictions if restriction.name in replaced)
        raise UserError(f"{labels}: {dataset} would have an invalid trial: {problem}")
    return replace(space, suggest=suggest, unrestricted=space, chosen_ends=chosen_ends)


def check_used(
    restrictions: Sequence[Restriction], spaces: Mapping[str, SearchSpace], full: Mapping[str, SearchSpace]
) -> None:
    """Raise UserError if a restricted parameter is in no trial, because of the choices that it depends on.

    Args:
        restrictions: The restrictions.
        spaces: The restricted space of each dataset.
        full: The space of each dataset with all encoders, with attributes and without restrictions.
    """
    for restriction in restrictions:
        name = restriction.name
        if any(name in parameters_of(space.suggest) for space in spaces.values()):
            continue
        dataset = next(dataset for dataset, space in full.items() if name in parameters_of(space.suggest))
        conditions = find_condition(name, full[dataset].suggest)
        needs = " and ".join(f"{parent} being {' or '.join(values)}" for parent, values in conditions.items())
        searched = parameters_of(spaces[dataset].suggest)
        got = " and ".join(
            f"{parent} {describe_distribution(searched[parent])}" for parent in conditions if parent in searched
        )
        raise UserError(
            f"{restriction.label}: {name} depends on {needs}, and the study searches {got}; "
            f"leave {name} out, or choose another {' or '.join(conditions)}."
        )


@cache  # a study asks several times
def find_invalid_trial(suggest: Suggest) -> str | None:
    """Return why the model's configuration refuses a trial of a space; None if it accepts every choice and every end.

    Of the runs of `explore_space`, those are checked that have a structure, or a value, that no earlier one has.
    """
    seen: set[Hashable] = set()
    for branch in explore_space(suggest):
        parts = {branch.structure, *branch.values.items()}
        if not parts <= seen and (problem := _problem_of(branch.config)):
            return problem
        seen |= parts
    return None


def _problem_of(config: Mapping[str, Scalar]) -> str | None:
    from pan_model.config import TrialConfig  # importing torch takes seconds

    try:
        TrialConfig.from_flat({"max_epochs": 1, "seed": 0, **config})
    except UserError as error:
        return str(error)
    return None


@cache
def _problem_of_value(name: str, value: Any, full: Suggest) -> str | None:
    """Return why the model's configuration refuses a value of a parameter, in a trial that has the parameter."""
    start = next(branch for branch in explore_space(full) if name in branch.values)
    fixed = replace_distributions(full, {name: single_value(value, start.distributions[name])})
    return _problem_of(run_branch(fixed, start.values | {name: value}).config)


def single_value(value: Any, distribution: BaseDistribution) -> BaseDistribution:
    """Return the distribution of a parameter with one value."""
    match distribution:
        case IntDistribution():
            return IntDistribution(value, value)
        case FloatDistribution():
            return FloatDistribution(value, value)
        case _:
            return CategoricalDistribution([value])


def _restricted(
    restriction: Restriction, distribution: BaseDistribution, full: Suggest, dataset: str
) -> BaseDistribution:
    """Return the distribution of a restricted parameter, after a check of its values."""
    name, label = restriction.name, restriction.label
    if restriction.kind is Kind.RANGE and isinstance(distribution, CategoricalDistribution):
        listed = ", ".join(map(str, distribution.choices))
        raise UserError(f"{label}: {name} is a choice of {listed}; give --choices {name}=VALUE,VALUE.")
    values = read_values(restriction, distribution, full, dataset)
    if restriction.kind is Kind.RANGE:
        return _range(restriction, values[0], values[1], distribution)
    _check_different(restriction, values)
    if len(values) == 1:
        return single_value(values[0], distribution)
    if isinstance(distribution, CategoricalDistribution):  # in the order of the space, further values last
        listed = [value for value in distribution.choices if value in values]
        return CategoricalDistribution(listed + [value for value in values if value not in listed])
    return CategoricalDistribution(values)


def read_values(restriction: Restriction, distribution: BaseDistribution, full: Suggest, dataset: str) -> list[Any]:
    """Return the values of a restriction, which may lie outside of the parameter's distribution.

    Args:
        restriction: The restriction.
        distribution: The distribution of its parameter.
        full: The space with all encoders.
        dataset: The name of the dataset, for messages.

    Raises:
        UserError: If a value is not of the parameter's type, or the dataset or the model does not accept it.
    """
    values = [_read_value(restriction, word, distribution, dataset) for word in restriction.words]
    for value in values:
        if problem := _problem_of_value(restriction.name, value, full):
            raise UserError(f"{restriction.label}: {problem}")
    return values


def _range(restriction: Restriction, low: Any, high: Any, distribution: BaseDistribution) -> BaseDistribution:
    name, label = restriction.name, restriction.label
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if low > high:
        raise UserError(f"{label}: the low end of {name}, {number_text(low)}, is above the high end; swap them.")
    if low == high:
        return single_value(low, distribution)
    if distribution.log and low <= 0:
        raise UserError(
            f"{label}: {name} is searched on a logarithmic scale, so its low end must be above 0, got "
            f"{number_text(low)}; --choices {name}=VALUE,VALUE may have 0 among its values."
        )
    if isinstance(distribution, IntDistribution):
        return IntDistribution(low, high, log=distribution.log)
    return FloatDistribution(low, high, log=distribution.log)


def _read_value(restriction: Restriction, word: str, distribution: BaseDistribution, dataset: str) -> Any:
    """Return a value of the parameter's type."""
    name, label = restriction.name, restriction.label
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        if any(isinstance(choice, str) for choice in choices):
            named = {str(choice): choice for choice in choices}
            if word not in named:
                same = [choice for choice in named if choice.lower() == word.lower()]
                near = same or difflib.get_close_matches(word, named, n=1)
                hint = f"; did you mean {near[0]}?" if near else "."
                if name == "supervision" and len(named) == 1:
                    hint = "; the others need attributes, and its images have none."
                raise UserError(f"{label}: {name} of {dataset} must be one of {', '.join(named)}, got '{word}'{hint}")
            return named[word]
        whole = all(isinstance(choice, int) for choice in choices)
    else:
        whole = isinstance(distribution, IntDistribution)
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    kind = "a whole number" if whole else "a finite number"
    if not math.isfinite(number) or (whole and not number.is_integer()) or "_" in word:
        raise UserError(f"{label}: {name} must be {kind}, got '{word}'.")
    if abs(number) > LARGEST and whole:
        raise UserError(f"{label}: {name} must be at most {LARGEST}, got a larger number.")
    return int(number) if whole else number


def _check_different(restriction: Restriction, values: Sequence[Any]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"{restriction.label}: {value} is given twice; keep one.")


def _chosen_ends(
    name: str, distribution: BaseDistribution, original: BaseDistribution, full: Suggest
) -> tuple[str, ...]:
    """Return the ends of a range that differ from the original's, unless the model accepts no value beyond them."""
    if not isinstance(distribution, IntDistribution | FloatDistribution) or distribution.single():
        return ()
    whole = isinstance(distribution, IntDistribution)
    beyond = {
        "low": distribution.low - 1 if whole else math.nextafter(distribution.low, -math.inf),
        "high": distribution.high + 1 if whole else math.nextafter(distribution.high, math.inf),
    }
    return tuple(
        end
        for end, value in beyond.items()
        if getattr(distribution, end) != getattr(original, end) and _problem_of_value(name, value, full) is None
    )
