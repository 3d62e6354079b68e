"""The baselines of a task: their names, their settings, fitting, and the choice of a setting on val."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pan_model.data.splits import Split
from pan_model.scores import QuestionScores
from pan_model.scoring.baselines import (
    attributes_only,
    class_means,
    logistic_regression,
    proxy_anchor,
    reranked,
    set_transformer,
)
from pan_model.scoring.baselines.attributes_only import fit_attributes_only, has_attributes
from pan_model.scoring.baselines.class_means import fit_centred_l2, fit_lda
from pan_model.scoring.baselines.logistic_regression import fit_logistic_regression
from pan_model.scoring.baselines.proxy_anchor import fit_proxy_anchor
from pan_model.scoring.baselines.reranked import fit_reranked
from pan_model.scoring.baselines.set_transformer import fit_set_transformer
from pan_model.scoring.baselines.setting import Fit, Setting
from pan_model.scoring.baselines.untrained import NORMALISED, cosine_baseline, siamese_distance
from pan_model.shapes import Float
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.outfits import OutfitTask
from pan_model.tasks.retrieval import RetrievalTask
from pan_model.tasks.same_class import SameClassTask
from pan_model.tasks.task import SetScorer, Task

PAPER_SETTING = "paper_setting"
"""The baseline that is a PAN: its configuration belongs to a search space, and the study trains it."""

NO_SETTING: tuple[Setting, ...] = ({},)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A row of the registry.

    Attributes:
        fit: Fits the baseline with several settings.
        suits: Whether a task has this baseline.
        settings: The settings to choose from on val.
        needs_inputs: Whether it is fitted on the winner's normalised features, not on those as extracted.
    """

    fit: Fit
    suits: Callable[[Task], bool] = lambda _: True
    settings: tuple[Setting, ...] = NO_SETTING
    needs_inputs: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """A baseline with the setting that is best on val.

    Attributes:
        name: The name of the baseline.
        setting: The setting.
        scores: The scores of the questions on val.
    """

    name: str
    setting: Setting
    scores: QuestionScores


def _fit_cosine(task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"]) -> Iterator[SetScorer]:
    return (cosine_baseline(task, inputs) for _ in settings)


def _fit_distance(_task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"]) -> Iterator[SetScorer]:
    return (siamese_distance(inputs) for _ in settings)


def _has_classes(task: Task) -> bool:
    return isinstance(task, SameClassTask)


def _has_episodes(task: Task) -> bool:
    return isinstance(task, FewShotTask)


def _is_retrieval(task: Task) -> bool:
    return isinstance(task, RetrievalTask)


def _has_outfits(task: Task) -> bool:
    return isinstance(task, OutfitTask)


BASELINES: dict[str, Baseline] = {
    "nearest_class_mean": Baseline(fit=_fit_cosine),
    "centred_l2": Baseline(fit=fit_centred_l2),
    "lda": Baseline(fit=fit_lda, suits=_has_classes, settings=class_means.LDA_SETTINGS),
    "reranked": Baseline(fit=fit_reranked, suits=_is_retrieval, settings=reranked.SETTINGS),
    NORMALISED: Baseline(fit=_fit_cosine, needs_inputs=True),
    "logistic_regression": Baseline(
        fit=fit_logistic_regression, suits=_has_episodes, settings=logistic_regression.SETTINGS, needs_inputs=True
    ),
    "siamese_distance": Baseline(fit=_fit_distance),
    "attributes_only": Baseline(fit=fit_attributes_only, suits=has_attributes, settings=attributes_only.SETTINGS),
    "proxy_anchor": Baseline(fit=fit_proxy_anchor, suits=_has_classes, settings=proxy_anchor.SETTINGS),
    "set_transformer": Baseline(fit=fit_set_transformer, suits=_has_outfits, settings=set_transformer.SETTINGS),
}
"""All baselines that are fitted here, in the order of tables."""

NEEDS_INPUTS = tuple(name for name, baseline in BASELINES.items() if baseline.needs_inputs)
"""The names of the baselines that depend on a trial: they are fitted on its normalised features."""


def names_of(task: Task) -> tuple[str, ...]:
    """Return the names of the task's baselines, in the order of tables."""
    return (*(name for name, baseline in BASELINES.items() if baseline.suits(task)), PAPER_SETTING)


def settings_of(name: str, task: Task) -> tuple[Setting, ...]:
    """Return the settings of a baseline to choose from on val; one if there is nothing to choose.

    Raises:
        ValueError: The task has no such baseline, or it is `paper_setting`, which the study trains.
    """
    return _baseline(name, task).settings


def fit_baseline(
    name: str, task: Task, setting: Setting, *, inputs: Float[np.ndarray, "N D"] | None = None
) -> SetScorer:
    """Fit a baseline on the training items of a task.

    Args:
        name: The name of the baseline.
        task: The task.
        setting: One of `settings_of(name, task)`.
        inputs: The winner's normalised features of all items. Baselines of `NEEDS_INPUTS` need them, others ignore
            them. Only the rows of items that are asked for are read.

    Raises:
        ValueError: The task has no such baseline, or `inputs` are missing.
    """
    return next(_fit(name, task, (setting,), inputs))


def choose_baseline(name: str, task: Task, *, inputs: Float[np.ndarray, "N D"] | None = None) -> Chosen:
    """Fit a baseline with each of its settings on the training items, and choose the best by the objective on val.

    Of equally good settings the first is chosen; one whose value is not a number is the worst. The arguments are those
    of `fit_baseline`.
    """
    settings = settings_of(name, task)

    def value_of(chosen: Chosen) -> float:
        value = task.objective.signed(float(chosen.scores[task.objective.name].mean()))
        return value if math.isfinite(value) else -math.inf

    return max(
        (
            Chosen(name=name, setting=setting, scores=task.evaluate(scorer, Split.VAL))
            for setting, scorer in zip(settings, _fit(name, task, settings, inputs), strict=True)
        ),
        key=value_of,
    )


def _fit(
    name: str, task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"] | None
) -> Iterator[SetScorer]:
    baseline = _baseline(name, task)
    if baseline.needs_inputs and inputs is None:
        raise ValueError(f"baseline {name} is fitted on a trial's normalised features; pass inputs.")
    fitted_on = inputs if baseline.needs_inputs and inputs is not None else task.featured.features
    return baseline.fit(task, settings, fitted_on)


def _baseline(name: str, task: Task) -> Baseline:
    if name not in BASELINES or not BASELINES[name].suits(task):
        known = [known for known in names_of(task) if known != PAPER_SETTING]
        raise ValueError(f"{type(task).__name__} has no baseline {name!r} to fit; choose from {', '.join(known)}.")
    return BASELINES[name]
