"""A search space in words: what --dry-run prints of it, and by what a study knows it again."""

import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from itertools import chain, combinations

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import BaseTrial

from pan_model.flat import Scalar
from search_spaces import SearchSpace
from study.config.identity import digest

NUM_SUGGESTIONS = 512
"""Random suggestions from which it is read off when a parameter is asked for."""


WIDTH = 100
"""Longer lines are wrapped."""


def describe_space(space: SearchSpace) -> list[str]:
    """One line a parameter: its range, and when it is asked for; then what is new in each of the first trials."""
    paper = space.paper_setting
    lines = [f"the paper's setting: {_join(paper)}"]
    lines += [f"first trial {number}: {_compare(point, paper)}" for number, point in enumerate(space.first_trials, 1)]
    return [*_describe_parameters(space.suggest), *(part for line in lines for part in _wrap(line))]


def _compare(point: Mapping[str, Scalar], paper: Mapping[str, Scalar]) -> str:
    """A first trial by what it changes of the paper's setting; what such a choice rules out is not repeated."""
    changed = {key: value for key, value in point.items() if paper.get(key) != value}
    return f"the paper's setting, but {_join(changed)}" if changed else "the paper's setting"


def _join(point: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{key}={value}" for key, value in point.items())


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def space_digest(space: SearchSpace) -> str:
    """Name a space by all that its trials are suggested by: 12 hex digits, other ones when it has changed."""
    first = [", ".join(f"{key} {value}" for key, value in point.items()) for point in space.first_trials]
    points = (f"  first trial {number}: {point}" for number, point in enumerate(first, 1))
    return digest([*_describe_parameters(space.suggest), *points])[:12]


@cache  # it takes a second, and a study asks for it again and again
def _describe_parameters(suggest: Callable[[BaseTrial], dict[str, Scalar]]) -> tuple[str, ...]:
    trials = _suggest_at_random(suggest)
    seen: dict[str, BaseDistribution] = {}
    for trial in trials:
        seen |= trial.distributions
    return tuple(f"  {name}: {_range(distribution)}{_when(name, trials, seen)}" for name, distribution in seen.items())


def _suggest_at_random(suggest: Callable[[BaseTrial], dict[str, Scalar]]) -> list[optuna.trial.FrozenTrial]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    optuna.logging.set_verbosity(verbosity)
    for _ in range(NUM_SUGGESTIONS):
        suggest(study.ask())
    return study.get_trials(deepcopy=False)


def _range(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(str(choice) for choice in distribution.choices)
    low, high, log = (getattr(distribution, name) for name in ("low", "high", "log"))
    return f"{low:g} to {high:g}{', log' if log else ''}"


def _when(name: str, trials: list[optuna.trial.FrozenTrial], seen: dict[str, BaseDistribution]) -> str:
    """The choice of another parameter on which this one depends, or of two, if it does."""
    having = [trial.params for trial in trials if name in trial.params]
    lacking = [trial.params for trial in trials if name not in trial.params]
    choices = [one for one, distribution in seen.items() if isinstance(distribution, CategoricalDistribution)]
    others = [other for other in choices if other != name] if lacking else []
    for parents in chain(combinations(others, 1), combinations(others, 2)):
        present = {parent: {params.get(parent) for params in having} for parent in parents}
        if not any(all(params.get(parent) in values for parent, values in present.items()) for params in lacking):
            said = (f"{parent} is {' or '.join(sorted(map(str, values)))}" for parent, values in present.items())
            return f" (when {' and '.join(said)})"
    return ""
