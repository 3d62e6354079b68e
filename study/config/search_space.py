"""The space that a study searches: that of the dataset, restricted to the chosen encoders and adapted to the regime."""

from typing import NamedTuple

from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial

from pan_model.data.splits import TaskName
from pan_model.errors import UserError
from pan_model.flat import Scalar
from search_spaces import SPACES, UNLABELLED_SPACES, SearchSpace
from search_spaces.finetune import finetuned, without_graph
from study.config.choices import Regime


class Parameters(NamedTuple):
    """The parameters of one trial: the value and the distribution of each."""

    values: dict[str, Scalar]
    distributions: dict[str, BaseDistribution]


def choose_space(
    dataset: str,
    encoders: tuple[str, ...] | None,
    regime: Regime,
    *,
    task: TaskName | None = None,
    labelled: bool = True,
) -> SearchSpace:
    """Return the search space of a dataset.

    Args:
        dataset: The name of the dataset.
        encoders: The encoders to search; None for the dataset's default.
        regime: Whether trials train the backbone.
        task: The task of `--task`; None for the dataset's default.
        labelled: Whether the images have attributes; otherwise the space is unsupervised.

    Raises:
        UserError: If the dataset does not support an encoder.
    """
    supported = _supported_in(dataset, regime, task, labelled=labelled)
    chosen = _choose_encoders(supported, dataset, encoders)
    return chosen if regime is Regime.FROZEN else finetuned(chosen)


def full_space(dataset: str, regime: Regime) -> SearchSpace:
    """Return the search space with every encoder that the dataset supports in a regime."""
    return choose_space(dataset, _supported_in(dataset, regime).supported, regime)


def replay(space: SearchSpace, config: dict[str, Scalar]) -> Parameters:
    """Return the parameters of a configuration, with the distributions that the space suggests them from.

    Args:
        space: The search space.
        config: The values of the parameters.

    Raises:
        ValueError: If the configuration is not in the space.
    """
    trial = FixedTrial(config)
    space.suggest(trial)
    return Parameters(trial.params, trial.distributions)


def _supported_in(dataset: str, regime: Regime, task: TaskName | None = None, *, labelled: bool = True) -> SearchSpace:
    space = SPACES[dataset] if labelled else UNLABELLED_SPACES[dataset]
    if task is TaskName.RETRIEVAL and "graph" in space.supported:
        space = without_graph(space, "its queries have no neighbours with --task retrieval")
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
