"""The numbers of metrics.json: means and intervals over questions, of the model, the baselines, their differences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pan_model.scores import QuestionScores
from study.trials.question_scores import as_entry, interval_ahead, interval_of


def model_metrics(scores: Sequence[QuestionScores]) -> dict[str, dict[str, Any]]:
    """Each metric of the model: its interval over questions, each averaged over the seeds, and the seeds one by one."""
    metrics: dict[str, dict[str, Any]] = {}
    for name, questions in average_over_seeds(scores).items():
        per_seed = [float(one[name].mean()) for one in scores]
        metrics[name] = {
            **as_entry(interval_of(questions), "mean"),
            "std_over_seeds": float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else 0.0,
            "per_seed": per_seed,
        }
    return metrics


def baseline_metrics(baselines: Mapping[str, QuestionScores]) -> dict[str, dict[str, Any]]:
    """Each metric of each baseline with its interval over the same questions."""
    return {
        name: {metric: as_entry(interval_of(questions), "mean") for metric, questions in scores.items()}
        for name, scores in baselines.items()
    }


def paired_differences(
    scores: Sequence[QuestionScores], baselines: Mapping[str, QuestionScores]
) -> dict[str, dict[str, Any]]:
    """Model minus baseline, question by question: the mean difference and its interval."""
    model = average_over_seeds(scores)
    return {
        name: {
            metric: as_entry(interval_ahead(model[metric], questions), "difference")
            for metric, questions in baseline.items()
        }
        for name, baseline in baselines.items()
    }


def average_over_seeds(scores: Sequence[QuestionScores]) -> QuestionScores:
    """Each question's score, averaged over the seeds."""
    return {name: np.mean([one[name] for one in scores], axis=0) for name in scores[0]}
