"""metrics.json of a final training: compute its entries, and read the scores for the summary of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from pan_model.errors import UserError
from pan_model.scores import Interval, QuestionScores
from study.storage.files import read_if_exists
from study.storage.json_models import JsonModel, parse_model
from study.storage.location import Location
from study.trials.question_scores import as_entry, interval_ahead, interval_of

PAN = "PAN"
"""The name of the model in tables, next to those of the baselines."""

LEAVE_OUT = "move its folder away to leave it out"


class MeanEntry(JsonModel):
    """A metric of a method: its mean over questions and the 95% interval; of the model also the mean of each seed."""

    mean: float
    ci95: tuple[float, float]
    per_seed: list[float] = Field(default_factory=list[float])

    @property
    def interval(self) -> Interval:
        """The mean with its interval."""
        return Interval(self.mean, *self.ci95)


class DifferenceEntry(JsonModel):
    """A metric of PAN minus that of a baseline: the mean over questions and the 95% interval."""

    difference: float
    ci95: tuple[float, float]

    @property
    def interval(self) -> Interval:
        """The mean difference with its interval."""
        return Interval(self.difference, *self.ci95)


class FinalMetricsFile(JsonModel):
    """The fields of metrics.json that are read; files of earlier releases lack paper_setting, or some baselines."""

    trial_id: str
    seeds: list[int] = Field(default_factory=list[int])
    questions: dict[str, int] = Field(default_factory=dict[str, int])
    metrics: dict[str, MeanEntry]
    baselines: dict[str, dict[str, MeanEntry]]
    paired: dict[str, dict[str, DifferenceEntry]]
    paper_setting: Any = None


@dataclass(frozen=True, kw_only=True)
class FinalScores:
    """The objective's scores in a metrics.json.

    Attributes:
        trial_id: The trial that was trained again.
        test: Each method's score on the test split.
        ahead: PAN's lead over each baseline.
        paper: The entry paper_setting of the file.
        per_seed: The model's mean over the questions, by seed.
        num_questions: The number of questions; 0 if the file does not say.
    """

    trial_id: str
    test: Mapping[str, Interval]
    ahead: Mapping[str, Interval]
    paper: Mapping[str, Any] = field(default_factory=dict[str, Any])
    per_seed: Mapping[int, float] = field(default_factory=dict[int, float])
    num_questions: int = 0


def read_final(path: Location, metric: str) -> FinalScores | None:
    """Return the scores in a metrics.json, or None if the file does not exist.

    Args:
        path: The file.
        metric: The objective's name.

    Raises:
        UserError: If the file is damaged or lacks the metric of a method.
    """
    content = read_if_exists(path, LEAVE_OUT)
    if content is None:
        return None
    final = parse_model(path, content, FinalMetricsFile, LEAVE_OUT)
    methods = {"metrics": final.metrics, **{f"baselines.{name}": entries for name, entries in final.baselines.items()}}
    leads = {f"paired.{name}": entries for name, entries in final.paired.items()}
    lacking = [f"{name}.{metric}" for name, entries in {**methods, **leads}.items() if metric not in entries]
    if lacking:
        raise UserError(f"{path}: lacks {', '.join(lacking)}; {LEAVE_OUT}.")
    return FinalScores(
        trial_id=final.trial_id,
        test={
            PAN: final.metrics[metric].interval,
            **{name: entries[metric].interval for name, entries in final.baselines.items()},
        },
        ahead={name: entries[metric].interval for name, entries in final.paired.items()},
        paper=final.paper_setting if isinstance(final.paper_setting, dict) else {},
        per_seed=dict(zip(final.seeds, final.metrics[metric].per_seed, strict=False)),
        num_questions=final.questions.get(metric, 0),
    )


class TestQuestionsFile(JsonModel):
    """The content of questions.json: the score of every test question, averaged over the seeds."""

    trial_id: str
    questions: dict[str, Annotated[list[float], Field(min_length=1)]]


def read_test_questions(path: Location, metric: str, trial_id: str) -> list[float] | None:
    """Return the score of every test question, averaged over the seeds.

    Args:
        path: The file questions.json of a final training.
        metric: The objective's name.
        trial_id: The trial of the metrics.json beside it.

    Returns:
        None if the file does not exist, as in final trainings of earlier releases, or lacks the metric.

    Raises:
        UserError: If the file is damaged or of another trial.
    """
    content = read_if_exists(path, "remove it")
    if content is None:
        return None
    file = parse_model(path, content, TestQuestionsFile, "remove it")
    if file.trial_id != trial_id:
        raise UserError(f"{path}: trial_id must be {trial_id}, as in metrics.json, got {file.trial_id}; remove it.")
    return file.questions.get(metric)


def model_metrics(scores: Sequence[QuestionScores]) -> dict[str, dict[str, Any]]:
    """Return the entry of each metric of the model.

    Args:
        scores: The scores of the same questions for each seed.

    Returns:
        For each metric the mean and the interval over questions, each averaged over the seeds, and the mean of each
        seed.
    """
    metrics: dict[str, dict[str, Any]] = {}
    for name, questions in average_over_seeds(scores).items():
        per_seed = [float(scores_of_seed[name].mean()) for scores_of_seed in scores]
        metrics[name] = {
            **as_entry(interval_of(questions), "mean"),
            "std_over_seeds": float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else 0.0,
            "per_seed": per_seed,
        }
    return metrics


def baseline_metrics(baselines: Mapping[str, QuestionScores]) -> dict[str, dict[str, Any]]:
    """Return the entry of each metric of each baseline."""
    return {
        name: {metric: as_entry(interval_of(questions), "mean") for metric, questions in scores.items()}
        for name, scores in baselines.items()
    }


def paired_differences(
    scores: Sequence[QuestionScores], baselines: Mapping[str, QuestionScores]
) -> dict[str, dict[str, Any]]:
    """Return, for each baseline and metric, the entry of the model minus the baseline, question by question.

    Args:
        scores: The model's scores for each seed.
        baselines: Each baseline's scores of the same questions.
    """
    model = average_over_seeds(scores)
    return {
        name: {
            metric: as_entry(interval_ahead(model[metric], questions), "difference")
            for metric, questions in baseline.items()
        }
        for name, baseline in baselines.items()
    }


def average_over_seeds(scores: Sequence[QuestionScores]) -> QuestionScores:
    """Return each question's score, averaged over the seeds."""
    return {name: np.mean([scores_of_seed[name] for scores_of_seed in scores], axis=0) for name in scores[0]}
