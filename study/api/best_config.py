"""The best configuration of a dataset as Python reads it: `Study.best`."""

from dataclasses import dataclass

from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.scores import Interval
from study.analysis.study_data import DatasetData
from study.trials.selection.confirmation import Selection


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """How the winner was confirmed: trained again from other seeds, and judged once on fresh questions.

    Attributes:
        selected: The metric on val at selection, by which the trial was among the candidates, with its interval over
            questions; None if the scores of questions were not kept. It is optimistic.
        confirmed: The mean over the fresh questions of all runs, with its 95% interval.
        seeds: The seeds of the runs, without runs that failed.
        per_seed: The metric of each of these runs.
        num_questions: The number of fresh questions, those of all runs.
        num_candidates: The number of trials that were to be confirmed, the winner included.
    """

    selected: Interval | None
    confirmed: Interval
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    num_questions: int
    num_candidates: int


@dataclass(frozen=True, kw_only=True)
class BestConfig:
    """The winner among the completed trials of a dataset: the best at confirmation, or else the best on val.

    Attributes:
        dataset: The name of the dataset.
        config: The flat configuration, as in best_config.json.
        metric: The name of the metric, measured on val.
        mode: "max" or "min".
        value: The metric in the trial's best epoch. The trial was selected by it, so it is optimistic.
        interval: The value with its 95% interval over questions; None if the scores of questions were not kept.
        epoch: The best epoch, from 1.
        trial_id: The id of the trial.
        num_completed: The number of completed trials among which it was chosen.
        confirmation: The winner's runs from other seeds; None if it is not confirmed.
    """

    dataset: str
    config: dict[str, Scalar]
    metric: str
    mode: str
    value: float
    interval: Interval | None
    epoch: int
    trial_id: str
    num_completed: int
    confirmation: Confirmation | None


def find_best(data: DatasetData) -> BestConfig:
    """Return the best configuration of a dataset.

    Raises:
        UserError: If no trial has completed.
    """
    if data.summary.best is None:
        raise UserError(f"{data.files.folder}: no trial has completed, so there is no best configuration yet.")
    winner, value, epoch = data.summary.best
    return BestConfig(
        dataset=data.dataset,
        config=dict(winner.config),
        metric=data.objective.name,
        mode=data.objective.mode,
        value=value,
        interval=data.summary.scores[0].val,
        epoch=epoch,
        trial_id=winner.trial_id,
        num_completed=len(data.completed),
        confirmation=_find_confirmation(data.summary.selection),
    )


def _find_confirmation(selection: Selection) -> Confirmation | None:
    chosen = selection.chosen
    if chosen is None or chosen.confirmed is None:
        return None
    return Confirmation(
        selected=chosen.selected,
        confirmed=chosen.confirmed,
        seeds=tuple(chosen.judged_seeds),
        per_seed=tuple(chosen.per_seed),
        num_questions=chosen.num_questions,
        num_candidates=len(selection.candidates),
    )
