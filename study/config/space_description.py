"""Structure of a search space: every parameter, its distribution and the choices it depends on.

A space is define-by-run, so its structure is found by running it: `explore_space` visits its branches in an order that
depends on no sampler and no random numbers. `--dry-run` prints the structure, study.json records it, and the signature
of a study contains its digest.
"""

import json
import textwrap
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, combinations
from typing import Any, NamedTuple

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.trial import BaseTrial, FixedTrial

from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.flat import Scalar
from search_spaces import SearchSpace
from study.config.identity import digest

WIDTH = 100
"""Number of characters after which lines are wrapped."""

Suggest = Callable[[BaseTrial], dict[str, Scalar]]


class Branch(NamedTuple):
    """One run of a space.

    Attributes:
        values: The value of each suggested parameter.
        distributions: The distribution of each suggested parameter.
        constants: Values of the configuration that are not suggested.
        structure: Key that is equal for runs with the same distributions and constants, in whatever order.
    """

    values: dict[str, Scalar]
    distributions: dict[str, BaseDistribution]
    constants: dict[str, Scalar]
    structure: Hashable

    @property
    def config(self) -> dict[str, Scalar]:
        """The configuration of the run."""
        return self.values | self.constants

    def to_json(self) -> dict[str, Any]:
        """Return the structure as JSON values, with numbers at full precision."""
        distributions = {name: distribution_to_json(distribution) for name, distribution in self.distributions.items()}
        return {"distributions": distributions, "constants": self.constants}


@cache  # a study explores the same space several times
def explore_space(suggest: Suggest) -> tuple[Branch, ...]:
    """Run a space along all its branches.

    The first run takes every parameter's first choice, or its lowest value. From a run whose structure is new, each
    parameter in turn is changed to each of its other choices, or to its highest value. From the first run, each two
    choices are also changed together, to find parameters that depend on both.

    Returns:
        Every run, starting with the first one.

    Raises:
        UserError: If the space suggests from an impossible distribution, such as a range whose low end is above its
            high end.
    """
    first = run_branch(suggest, {})
    branches, structures, pending = [first], {first.structure}, [first]

    def visit(values: Mapping[str, Scalar]) -> None:
        branches.append(branch := run_branch(suggest, values))
        if branch.structure not in structures:
            structures.add(branch.structure)
            pending.append(branch)

    for changes in _changes(first, 2, CategoricalDistribution):
        visit(changes)
    for start in pending:  # grows while it is read
        for changes in _changes(start, 1):
            visit({**start.values, **changes})
    return tuple(branches)


def run_branch(suggest: Suggest, values: Mapping[str, Scalar]) -> Branch:
    """Run a space with given values; a missing or disallowed value is replaced by the first choice or the lowest."""
    trial = _GivenTrial(values)
    try:
        config = suggest(trial)
    except ValueError as error:  # from Optuna
        raise UserError(f"the search space is invalid: {error}") from error
    constants = {name: value for name, value in config.items() if trial.params.get(name, object()) != value}
    identities = frozenset((name, id(distribution)) for name, distribution in trial.distributions.items())
    return Branch(trial.params, trial.distributions, constants, (identities, repr(sorted(constants.items()))))


def _changes(
    branch: Branch, count: int, kind: type[BaseDistribution] = BaseDistribution
) -> Iterator[dict[str, Scalar]]:
    """Yield the other values of each `count` parameters of a kind, in the order of their names."""
    others = {
        name: [value for value in _values(distribution) if value != branch.values[name]]
        for name, distribution in sorted(branch.distributions.items())
        if isinstance(distribution, kind)
    }
    for names in combinations(others, count):
        combined: list[dict[str, Scalar]] = [{}]
        for name in names:
            combined = [{**changes, name: value} for changes in combined for value in others[name]]
        yield from combined


def _values(distribution: BaseDistribution) -> Sequence[Any]:
    """Return all choices, or both ends of a range."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return (distribution.low, distribution.high)


@cache
def _float(low: float, high: float, step: float | None, log: bool) -> FloatDistribution:
    return FloatDistribution(low, high, step=step, log=log)


@cache
def _int(low: int, high: int, step: int, log: bool) -> IntDistribution:
    return IntDistribution(low, high, step=step, log=log)


_CATEGORICAL: dict[str, CategoricalDistribution] = {}
"""Distributions by the text of their choices, since 1 and True are the same key."""


class _GivenTrial(FixedTrial):
    """A trial of given values. A missing or disallowed value is replaced by the first choice or the lowest value.

    Equal distributions are one object, so that runs are compared by identity.
    """

    def __init__(self, values: Mapping[str, Scalar]) -> None:
        super().__init__(dict(values))
        self._values = values
        self._taken: dict[str, Scalar] = {}
        self._used: dict[str, BaseDistribution] = {}

    @property
    def params(self) -> dict[str, Any]:
        """Values by parameter."""
        return self._taken

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions by parameter."""
        return self._used

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return the given value if it is an end of the range, or the low end."""
        return self._suggest(name, _float(float(low), float(high), step, log))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return the given value if it is an end of the range, or the low end."""
        return self._suggest(name, _int(low, high, step, log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return the given choice, or the first one."""
        key = repr(tuple(choices))
        if key not in _CATEGORICAL:
            _CATEGORICAL[key] = CategoricalDistribution(choices)
        return self._suggest(name, _CATEGORICAL[key])

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        values = _values(distribution)
        value = self._values.get(name, values[0])
        self._taken[name] = value if value in values else values[0]
        self._used[name] = distribution
        return self._taken[name]


def space_digest(space: SearchSpace) -> str:
    """Return a digest of everything that determines the trials a space suggests, 12 hex digits.

    It hashes the first trials and, for every structure of the branches, the distributions and constants at full
    precision and the values that lead to the structure.
    """
    structures = _digest_structures(space.suggest)
    return digest({"structures": structures, "first_trials": [dict(trial) for trial in space.first_trials]})[:12]


@cache  # called several times per study
def _digest_structures(suggest: Suggest) -> tuple[str, ...]:
    by_structure: dict[Hashable, list[Branch]] = {}
    for branch in explore_space(suggest):
        by_structure.setdefault(branch.structure, []).append(branch)
    return tuple(sorted(digest(alike[0].to_json() | _values_in(alike)) for alike in by_structure.values()))


def _values_in(branches: Sequence[Branch]) -> dict[str, Any]:
    """Return the values that each parameter has in some of the branches."""
    typed = {name: {(type(value := branch.values[name]), value) for branch in branches} for name in branches[0].values}
    return {"values": {name: sorted(json.dumps(value) for _, value in pairs) for name, pairs in typed.items()}}


@cache
def parameters_of(suggest: Suggest) -> Mapping[str, BaseDistribution]:
    """Return the distribution of every parameter of a space, in the order in which they are first suggested."""
    parameters: dict[str, BaseDistribution] = {}
    for branch in explore_space(suggest):
        parameters |= branch.distributions
    return parameters


@cache
def names_in(suggest: Suggest) -> frozenset[str]:
    """Return the names of the parameters of a space; faster than `explore_space`, which visits every structure."""
    first = run_branch(suggest, {})
    names, pending = set(first.values), [first]
    for start in pending:  # grows while it is read
        for changes in _changes(start, 1, CategoricalDistribution):
            branch = run_branch(suggest, {**start.values, **changes})
            if not names.issuperset(branch.values):
                names.update(branch.values)
                pending.append(branch)
    return frozenset(names)


def record_space(space: SearchSpace) -> dict[str, Any]:
    """Return the parameters and the first trials of a space, for study.json."""
    return {
        "parameters": {
            name: _record(distribution, space.chosen_ends.get(name, ()))
            for name, distribution in parameters_of(space.suggest).items()
        },
        "first_trials": [dict(trial) for trial in space.first_trials],
    }


def _record(distribution: BaseDistribution, chosen_ends: Sequence[str]) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return {"choices": list(distribution.choices)}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = "int" if isinstance(distribution, IntDistribution) else "float"
    ends = {"low": distribution.low, "high": distribution.high, "log": distribution.log, "type": kind}
    return ends | ({"chosen_ends": list(chosen_ends)} if chosen_ends else {})


def compare_spaces(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences of two spaces in words, such as "gate was OR, XNOR, now XNOR".

    Args:
        was: The earlier space, as `record_space` returns it.
        now: The present space.
    """
    before, present = was["parameters"], now["parameters"]
    parameters = [
        f"{name} was {texts[0]}, now {texts[1]}"
        for name in {**before, **present}
        if (texts := _compare_records(before.get(name), present.get(name)))
    ]
    if parameters:
        return parameters
    if was["first_trials"] != now["first_trials"]:
        return [f"the first trials were {len(was['first_trials'])}, now {counted(len(now['first_trials']), 'other')}"]
    return ["a constant, or the choice that a parameter depends on, differs"]


def _compare_records(*records: Mapping[str, Any] | None) -> list[str]:
    """Return the texts of records of a parameter; an empty list if they are the same."""
    texts = record_texts(records)
    return texts if len(set(texts)) > 1 else []


def record_texts(records: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """Return the texts of records of a parameter, of which None is absent; equal only if the records are the same.

    >>> record_texts([{"choices": ["OR", "XNOR"]}, None])
    ['OR, XNOR', 'absent']
    """
    short, full = ([_text_of_record(record, scale=scale) for record in records] for scale in (False, True))
    return short if len(set(short)) == len(set(full)) else full


def _text_of_record(record: Mapping[str, Any] | None, *, scale: bool) -> str:
    if record is None:
        return "absent"
    if "choices" in record:
        return ", ".join(map(str, record["choices"]))
    if record["low"] == record["high"]:
        return number_text(record["low"])
    words = f" ({record['type']}, {'log' if record['log'] else 'linear'})" if scale else ""
    return f"{number_text(record['low'])}..{number_text(record['high'])}{words}"


def number_text(value: float) -> str:
    """Return a number in few digits, and in all digits where these are needed to read it back.

    >>> number_text(1e-05), number_text(10.0), number_text(0.123456789)
    ('1e-05', '10', '0.123456789')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def describe_space(space: SearchSpace, num_trials: int | None = None) -> list[str]:
    """Describe a space: how many parameters are searched, one line per parameter, then the first trials.

    Args:
        space: The search space.
        num_trials: The number of trials that a study has for it, which may be too few for all first trials.
    """
    paper, first_trials = space.paper_setting, list(number_first_trials(space).items())
    lines = [f"the paper's setting: {_join(paper)}"]
    lines += [f"first trial {number}: {_compare(point, paper)}" for number, point in first_trials[:num_trials]]
    if beyond := first_trials[len(first_trials) if num_trials is None else num_trials :]:
        lines.append(f"{counted(len(beyond), 'further first trial')} would need more of --num-trials")
    lines += describe_left_out(space)
    return [*_describe_parameters(space.suggest), *(wrapped for line in lines for wrapped in _wrap(line))]


def number_first_trials(space: SearchSpace) -> dict[int, Mapping[str, Scalar]]:
    """Return the first trials of a space by their number, which counts those that were left out as well."""
    numbers = range(1, 1 + len(space.first_trials) + len(space.left_out))
    kept = [number for number in numbers if number not in space.left_out]
    return dict(zip(kept, space.first_trials, strict=True))


def describe_left_out(space: SearchSpace) -> list[str]:
    """Return a line for each first trial that was left out, with the reason."""
    total = len(space.first_trials) + len(space.left_out)
    return [
        f"first trial {number} of {total} is left out, it is not in the search space: {reason}"
        for number, reason in space.left_out.items()
    ]


def _compare(point: Mapping[str, Scalar], paper: Mapping[str, Scalar]) -> str:
    """Describe a first trial by its differences from the paper's setting."""
    changed = {key: value for key, value in point.items() if paper.get(key) != value}
    return f"the paper's setting, but {_join(changed)}" if changed else "the paper's setting"


def _join(point: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{key}={value}" for key, value in point.items())


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _describe_parameters(suggest: Suggest) -> list[str]:
    parameters = parameters_of(suggest)
    fixed = sum(distribution.single() for distribution in parameters.values())
    return [
        f"  parameters: {fixed} fixed, {len(parameters) - fixed} searched",
        *(
            f"  {name}: {describe_distribution(distribution)}{_when(name, suggest)}"
            for name, distribution in parameters.items()
        ),
    ]


def describe_distribution(distribution: BaseDistribution) -> str:
    """Return the choices or the range of a parameter, or its one value.

    >>> describe_distribution(FloatDistribution(1e-4, 1.0, log=True)), describe_distribution(IntDistribution(8, 8))
    ('0.0001 to 1, log', '8, fixed')
    """
    fixed = ", fixed" if distribution.single() else ""
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(map(str, distribution.choices)) + fixed
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = number_text(distribution.low), number_text(distribution.high)
    return f"{low}{fixed}" if fixed else f"{low} to {high}{', log' if distribution.log else ''}"


def _when(name: str, suggest: Suggest) -> str:
    conditions = find_condition(name, suggest)
    words = (f"{parent} is {' or '.join(values)}" for parent, values in conditions.items())
    return f" (when {' and '.join(words)})" if conditions else ""


def find_condition(name: str, suggest: Suggest) -> dict[str, list[str]]:
    """Return the choices of one or two other parameters on which a parameter depends; empty if it depends on none."""
    branches = explore_space(suggest)
    having = [branch.values for branch in branches if name in branch.values]
    lacking = [branch.values for branch in branches if name not in branch.values]
    choices = [
        key for key, distribution in parameters_of(suggest).items() if isinstance(distribution, CategoricalDistribution)
    ]
    others = [key for key in choices if key != name] if lacking else []
    for parents in chain(combinations(others, 1), combinations(others, 2)):
        present = {parent: {params.get(parent) for params in having} for parent in parents}
        if not any(all(params.get(parent) in values for parent, values in present.items()) for params in lacking):
            return {parent: sorted(map(str, values)) for parent, values in present.items()}
    return {}
