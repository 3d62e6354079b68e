"""The space that a study searches: that of the dataset, adapted to the regime and restricted by flags."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from pan_model.data.splits import TaskName
from pan_model.datasets import find_dataset
from pan_model.errors import UserError
from pan_model.flat import Scalar
from search_spaces import RETRIEVAL_SPACES, SPACES, UNLABELLED_RETRIEVAL_SPACES, UNLABELLED_SPACES, SearchSpace
from search_spaces.finetune import finetuned, without_graph
from study.config.choices import Regime
from study.config.restrictions import Restriction, check_names, check_used, find_invalid_trial, restrict
from study.config.space_description import describe_distribution, names_in


class Parameters(NamedTuple):
    """The parameters of one trial: the value and the distribution of each."""

    values: dict[str, Scalar]
    distributions: dict[str, BaseDistribution]


def choose_space(
    dataset: str,
    encoders: tuple[str, ...] | None,
    regime: Regime,
    restrictions: Sequence[Restriction] = (),
    *,
    task: TaskName | None = None,
    labelled: bool = True,
) -> SearchSpace:
    """Return the search space of a dataset. First trials that are not in it are left out.

    Args:
        dataset: The name of the dataset.
        encoders: The encoders to search; None for the dataset's default.
        regime: Whether trials train the backbone.
        restrictions: Restrictions of parameters other than the encoder.
        task: The task of `--task`; None for the dataset's default.
        labelled: Whether the images have attributes; otherwise the space is unsupervised.

    Raises:
        UserError: If the dataset does not support an encoder, or does not accept a restriction.
    """
    supported = _supported_in(dataset, regime, task, labelled=labelled)
    chosen = _choose_encoders(supported, dataset, encoders)
    requested = [trial for trial in supported.more_first_trials if trial["encoder"] in chosen.encoders]
    candidates = replace(chosen, first_trials=(*supported.first_trials, *requested))
    if regime is Regime.FINETUNE:
        chosen, candidates = finetuned(chosen), finetuned(candidates)
    if restrictions:
        full = full_space(dataset, regime, task=task, labelled=labelled)
        chosen = restrict(chosen, restrictions, dataset=dataset, full=full)
    return _leave_out(chosen, candidates.first_trials)


def _leave_out(space: SearchSpace, candidates: Sequence[dict[str, Scalar]]) -> SearchSpace:
    """Return the space with those of some first trials that are in it."""
    reasons = {number: reason for number, trial in enumerate(candidates, 1) if (reason := why_outside(space, trial))}
    if not reasons:
        return space
    first_trials = tuple(trial for number, trial in enumerate(candidates, 1) if number not in reasons)
    return replace(space, first_trials=first_trials, left_out=reasons, unrestricted=space.unrestricted or space)


def why_outside(space: SearchSpace, trial: dict[str, Scalar]) -> str | None:
    """Return why a configuration is not in a space; None if it is."""
    try:
        replay(space, trial)
    except ValueError as error:
        return str(error)
    return None


def check_restrictions(
    restrictions: Sequence[Restriction], spaces: Mapping[str, SearchSpace], full: Mapping[str, SearchSpace]
) -> None:
    """Check restrictions that concern several datasets together.

    Args:
        restrictions: The restrictions.
        spaces: The restricted space of each dataset.
        full: The space of each dataset with all encoders, with attributes and without restrictions.

    Raises:
        UserError: If no dataset has a restricted parameter, or if no trial has it, because of the choices that it
            depends on. Rules of one dataset are checked by `choose_space`.
    """
    if restrictions:
        check_names(restrictions, full, parameters_elsewhere)
        check_used(restrictions, spaces, full)


def check_trials(space: SearchSpace, dataset: str) -> None:
    """Raise UserError if the model's configuration refuses a trial of a space, which may have been edited."""
    if problem := find_invalid_trial(space.suggest):
        raise UserError(f"the search space of {dataset} suggests an invalid trial: {problem}")


def parameters_elsewhere() -> dict[tuple[str, str], frozenset[str]]:
    """Return the names of the parameters of every dataset in both regimes."""
    return {(dataset, regime): names_in(full_space(dataset, regime).suggest) for dataset in SPACES for regime in Regime}


def full_space(dataset: str, regime: Regime, *, task: TaskName | None = None, labelled: bool = True) -> SearchSpace:
    """Return the search space with every encoder that the dataset supports; see `choose_space` for the arguments."""
    supported = _supported_in(dataset, regime, task, labelled=labelled)
    every = _choose_encoders(supported, dataset, supported.supported)
    return every if regime is Regime.FROZEN else finetuned(every)


def replay(space: SearchSpace, config: dict[str, Scalar]) -> Parameters:
    """Return the parameters of a configuration, with the distributions that the space suggests them from.

    Args:
        space: The search space.
        config: The values of the parameters.

    Raises:
        ValueError: If the configuration is not in the space.
    """
    trial = _ReplayedTrial(config)
    space.suggest(trial)
    return Parameters(trial.params, trial.distributions)


class _ReplayedTrial(FixedTrial):
    """A trial of given values that raises ValueError for a value outside its distribution, which Optuna accepts."""

    def __init__(self, params: dict[str, Scalar]) -> None:
        super().__init__(params)
        self._given = params

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._given:
            raise ValueError(f"it has no {name}, which is searched there")
        value, within = self._given[name], False
        if isinstance(distribution, CategoricalDistribution):
            within = value in distribution.choices
        elif isinstance(distribution, FloatDistribution | IntDistribution) and not isinstance(value, str):
            within = distribution.low <= value <= distribution.high
        if not within:
            raise ValueError(f"{name} is {value}, and the space has {describe_distribution(distribution)}")
        return super()._suggest(name, distribution)


def _supported_in(dataset: str, regime: Regime, task: TaskName | None = None, *, labelled: bool = True) -> SearchSpace:
    """Return the space of a dataset and a task, before `--encoders` and restrictions.

    Raises:
        UserError: If the dataset does not have the task, or no space for it.
    """
    asked = find_dataset(dataset, task)
    spaces = SPACES if labelled else UNLABELLED_SPACES
    is_other = asked.task_class != find_dataset(dataset).task_class
    if is_other:  # --task retrieval: few-shot is the default where there is a choice
        spaces = RETRIEVAL_SPACES if labelled else UNLABELLED_RETRIEVAL_SPACES
    if dataset not in spaces:
        cases = ([f"--task {task}"] if is_other else []) + ([] if labelled else ["images without attributes"])
        raise UserError(f"search_spaces/__init__.py has no space for {dataset} with {' and '.join(cases)}; add a row.")
    space = spaces[dataset]
    if is_other:
        space = without_graph(space, f"its queries have no neighbours with --task {task}")
    return space if regime is Regime.FROZEN else without_graph(space)


def _choose_encoders(space: SearchSpace, dataset: str, encoders: tuple[str, ...] | None) -> SearchSpace:
    if encoders is None:
        return space
    choices = f"choose from {', '.join(space.supported)}."
    if not encoders:
        raise UserError(f"encoders must name at least one encoder; {choices}")
    for name in encoders:
        if name in space.unsupported:
            raise UserError(f"encoder {name}: {dataset} does not support it, {space.unsupported[name]}; {choices}")
        if name not in space.supported:
            raise UserError(f"unknown encoder '{name}'; {choices}")
    return space.among(encoders)
