"""Variations of a winner: the configurations that differ from it in the parameters that are varied, and in no others.

A change of a choice may add parameters that depend on it, such as lambda to an unsupervised winner, or remove some.
Those that are added have the values of the space's first trial with the same encoder and supervision, or of the next
one that has them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from pan_model.config import TrialConfig
from pan_model.datasets import ReaderOptions, find_dataset
from pan_model.errors import UserError
from pan_model.flat import Scalar
from search_spaces import SearchSpace
from search_spaces.restriction import replace_distributions
from study.app.ablation.config import AblationConfig
from study.app.ablation.start import best_with, start_name
from study.config.choices import Regime
from study.config.restrictions import (
    ENCODER,
    Kind,
    Restriction,
    check_names,
    parameter_in,
    read_values,
    single_value,
)
from study.config.search_space import choose_space, full_space, parameters_elsewhere
from study.config.space_description import find_condition, number_text, parameters_of
from study.config.try_file import fit

FORM = "NAME=VALUE,VALUE"

OF_THE_STUDY = {
    "seed": "it is varied in every row; give --seeds N",
    "max_epochs": "all rows have the epochs of the winner, so that they can be compared",
    "schedule_epochs": "all rows have the epochs of the winner, so that they can be compared",
    "precision": "all rows have the precision of the winner",
}
"""Why keys of a configuration that are no parameters of the search space cannot be varied."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """A row of the comparison.

    Attributes:
        changes: The varied parameters and their values.
        config: The whole configuration, with the seed of the winner.
    """

    changes: dict[str, Scalar]
    config: dict[str, Scalar]

    @property
    def name(self) -> str:
        """The changes in words, such as "lambda=0.1, gate=OR"."""
        return name_changes(self.changes)


def name_changes(changes: Mapping[str, Scalar]) -> str:
    """Return changes in words.

    >>> name_changes({"lambda": 0.1, "gate": "OR"})
    'lambda=0.1, gate=OR'
    """
    return ", ".join(
        f"{name}={number_text(value) if isinstance(value, float) else value}" for name, value in changes.items()
    )


def describe_start(name: str, config: Mapping[str, Scalar], varied: Iterable[str]) -> str:
    """Return the name of the row without changes, with its values of the varied parameters, rounded.

    >>> describe_start("winner", {"lambda": 0.00012345678, "gate": "OR"}, ["lambda", "graph_width"])
    'winner (lambda=0.0001235)'
    """
    values = {name: config[name] for name in varied if name in config}
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()}
    return f"{name} ({name_changes(rounded)})" if values else name


@dataclass(frozen=True, kw_only=True)
class Varied(Restriction):
    """A value of --vary."""

    @property
    def label(self) -> str:
        """The flag with its value, which begins every message about it."""
        return f"--vary {self.text}"


def read_varied(texts: Sequence[str]) -> list[Varied]:
    """Parse the values of --vary.

    Raises:
        UserError: If a value is malformed, or a parameter is given twice.
    """
    by_name: dict[str, Varied] = {}
    for text in texts:
        name, (_, separator, values) = parameter_in(text), text.partition("=")
        words = tuple(word.strip() for word in values.split(","))
        varied = Varied(kind=Kind.CHOICES, name=name, words=words, text=text)
        if not separator or not name or not all(words):
            raise UserError(f"{varied.label}: expected {FORM} without spaces, got '{text}'.")
        if ":" in values:
            raise UserError(f"{varied.label}: expected {FORM}, not a range; list the values, such as {name}=0.01,0.1.")
        if name in by_name:
            raise UserError(f"{varied.label}: {name} is given by {by_name[name].label}, too; give all values in one.")
        if len(set(words)) < len(words):
            twice = next(word for word in words if words.count(word) > 1)
            raise UserError(f"{varied.label}: {twice} is given twice; keep one.")
        by_name[name] = varied
    return list(by_name.values())


def vary_winner(best: Mapping[str, Any], varied: Sequence[Varied], config: AblationConfig) -> list[Variation]:
    """Return the variations of a winner, without those that are the winner itself.

    Args:
        best: The content of best_config.json.
        varied: The parameters with their values.
        config: The flags.

    Raises:
        UserError: If a parameter or a value is not one that the winner can have.
    """
    space = _full_space(best, config)
    if varied:
        _check_names(varied, best["dataset"], space)
    values = {one: _read(one, best, space) for one in varied}
    around = _AroundWinner(best["config"], space)
    variations: list[Variation] = []
    seen = [TrialConfig.from_flat(best["config"])]
    unused = {one.name: one for one in varied}
    for labels, chosen in _combine(values, grid=config.grid):
        changes = around.applicable(chosen)  # in a grid, lambda has no effect on unsupervised rows
        for name in changes:
            unused.pop(name, None)
        if not config.grid and not changes:
            raise UserError(_describe_unused(next(one for one in varied if one.name in chosen), varied, best, config))
        complete = around.vary(changes)
        try:
            typed = TrialConfig.from_flat(complete)
        except UserError as rule:
            raise UserError(
                f"{labels}: the winner with {name_changes(changes)} would be no valid trial: {rule}"
            ) from rule
        if typed not in seen:
            seen.append(typed)
            variations.append(Variation(changes=changes, config=complete))
    for one in unused.values():
        raise UserError(_describe_unused(one, varied, best, config))
    if varied and not variations:
        labels = ", ".join(one.label for one in varied)
        start = describe_start(start_name(best, config), best["config"], [one.name for one in varied])
        raise UserError(f"{labels}: every row would be the {start} itself; add other values.")
    return variations


def _combine(values: Mapping[Varied, Sequence[Scalar]], *, grid: bool) -> Iterator[tuple[str, dict[str, Scalar]]]:
    """Yield the changes of each row, and the flags that they are from."""
    if grid and values:
        labels = ", ".join(varied.label for varied in values)
        for chosen in product(*values.values()):
            yield labels, {varied.name: value for varied, value in zip(values, chosen, strict=True)}
        return
    for varied, of_parameter in values.items():
        for value in of_parameter:
            yield varied.label, {varied.name: value}


def _full_space(best: Mapping[str, Any], config: AblationConfig) -> SearchSpace:
    """Return the search space of the winner's dataset with every encoder that it supports."""
    options = ReaderOptions.from_json(best["data"].get("options", {}))
    row = find_dataset(best["dataset"], options.task)
    is_labelled = best["config"]["supervision"] != "unsupervised"
    labelled = is_labelled or row.is_labelled(row.find_place(config.data_root).folder)
    return full_space(best["dataset"], Regime(best["features"]["regime"]), task=options.task, labelled=labelled)


def _check_names(varied: Sequence[Varied], dataset: str, space: SearchSpace) -> None:
    for one in varied:
        if reason := OF_THE_STUDY.get(one.name):
            raise UserError(f"{one.label}: {one.name} cannot be varied: {reason}.")
    check_names(varied, {dataset: space}, parameters_elsewhere)


def _read(varied: Varied, best: Mapping[str, Any], space: SearchSpace) -> list[Scalar]:
    dataset = best["dataset"]
    if varied.name == ENCODER:
        task = ReaderOptions.from_json(best["data"].get("options", {})).task
        try:  # its messages have the reason why a dataset does not support an encoder
            choose_space(dataset, varied.words, Regime(best["features"]["regime"]), task=task)
        except UserError as error:
            raise UserError(f"{varied.label}: {error}") from error
    values = read_values(varied, parameters_of(space.suggest)[varied.name], space.suggest, dataset)
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"{varied.label}: {value} is given twice; keep one.")
    return values


def _describe_unused(unused: Varied, varied: Sequence[Varied], best: Mapping[str, Any], config: AblationConfig) -> str:
    """Return why no row has a parameter, and the ways out."""
    start, space = best["config"], _full_space(best, config)
    conditions = find_condition(unused.name, space.suggest)
    needs = " and ".join(f"{parent} being {' or '.join(values)}" for parent, values in conditions.items())
    has = ", ".join(f"{parent} {start[parent]}" for parent in conditions if parent in start)
    others = " ".join(f"--vary {parent}={','.join(values)}" for parent, values in conditions.items())
    trial = best_with([one.name for one in varied], best, config)
    hint = f"give --trial {trial}, the best trial that has it, " if trial else ""
    return (
        f"{unused.label}: {unused.name} depends on {needs}, and the {start_name(best, config)} has {has}; {hint}"
        f"{'or ' if hint else ''}add {others} --grid."
    )


class _AroundWinner:
    """The search space with all parameters fixed at the values of a winner."""

    def __init__(self, winner: Mapping[str, Scalar], space: SearchSpace) -> None:
        self._winner, self._space = winner, space
        self._parameters = parameters_of(space.suggest)
        defaults = TrialConfig.from_flat(winner).to_flat()  # of parameters that earlier releases did not have
        self._base = self._run({**defaults, **winner})
        self._values = {name: value for name, value in {**defaults, **winner}.items() if name in self._base}

    def vary(self, changes: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the winner's configuration with changes that are applicable."""
        changed = self._run({**self._values, **changes})
        config = dict(self._winner)
        for name in {**self._base, **changed}:
            if self._base.get(name) != changed.get(name):
                config.pop(name, None)
                if name in changed:
                    config[name] = changed[name]
        return {**config, **changes}

    def applicable(self, changes: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return those of some changes that a trial with the others can have."""
        changed = self._run({**self._values, **changes})
        return {name: value for name, value in changes.items() if changed.get(name) == value}

    def _run(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the configuration that the space suggests for given values."""
        fixed = {
            name: single_value(values[name], distribution)
            for name, distribution in self._parameters.items()
            if name in values
        }
        suggest = replace_distributions(self._space.suggest, fixed)
        return fit(values, replace(self._space, suggest=suggest, first_trials=(self._guide(values),))).config

    def _guide(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return values for parameters that the given ones lack, of first trials: the most similar one counts most."""
        kinds = ("encoder", "supervision")
        guide: dict[str, Scalar] = {}
        for trial in sorted(
            (self._space.paper_setting, *reversed((*self._space.first_trials, *self._space.more_first_trials))),
            key=lambda trial: sum(trial.get(kind) == values.get(kind) for kind in kinds),
        ):
            guide |= trial
        return guide | {ENCODER: values[ENCODER]}
