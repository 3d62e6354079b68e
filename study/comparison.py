"""PAN beside its baselines: each method's scores on train, val and test, and how far PAN is ahead, with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pan_model.errors import BadInput
from pan_model.metrics import Interval
from study.baseline_scores import BASELINES
from study.files import read_json
from study.ledger import TrialRecord
from study.question_scores import QuestionLists, interval_ahead, interval_of

PAN = "PAN"
FINAL_FIELDS = {"trial_id", "metrics", "baselines", "paired"}
"""What is read of a metrics.json."""


@dataclass(frozen=True, kw_only=True)
class MethodScores:
    """One method's value of the objective by split, where known; ahead is PAN's lead on the same questions."""

    method: str
    train: float | None = None
    val: Interval | None = None
    val_ahead: Interval | None = None
    test: Interval | None = None
    test_ahead: Interval | None = None


def compare_methods(
    metric: str,
    winner: TrialRecord | None,
    epoch: int,
    baselines: Mapping[str, QuestionLists],
    final: Mapping[str, Any] | None,
) -> list[MethodScores]:
    """PAN first, then the baselines; without a winner PAN has no scores.

    baselines are those that a study's trials share, the winner's own at its best epoch are in its record; final is the
    content of metrics.json, None before a final training.
    """
    history = winner.history if winner else []
    kept = winner.best if winner and winner.best and winner.best.epoch == epoch else None
    own = kept.questions[metric] if kept else None
    of_baselines = {**baselines, **(kept.baselines if kept else {})}
    train = next((record.get(f"train/{metric}") for record in history if record["epoch"] == epoch), None)
    pan = MethodScores(
        method=PAN,
        train=train,
        val=interval_of(own) if own else None,
        test=_read_interval(final["metrics"][metric], "mean") if final else None,
    )
    return [pan, *(_score_baseline(name, metric, own, of_baselines.get(name), final) for name in BASELINES)]


def _score_baseline(
    name: str,
    metric: str,
    own: list[float] | None,
    baseline: QuestionLists | None,
    final: Mapping[str, Any] | None,
) -> MethodScores:
    questions = baseline[metric] if baseline else None
    return MethodScores(
        method=name,
        val=interval_of(questions) if questions else None,
        val_ahead=interval_ahead(own, questions) if own and questions else None,
        test=_read_interval(final["baselines"][name][metric], "mean") if final else None,
        test_ahead=_read_interval(final["paired"][name][metric], "difference") if final else None,
    )


def read_final(path: Path, trial_id: str) -> dict[str, Any] | None:
    """The metrics.json of the final training, if there is one of this very trial."""
    if not path.exists():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not set(content) >= FINAL_FIELDS:
        raise BadInput(f"{path}: must hold {', '.join(sorted(FINAL_FIELDS))}; move its folder away to leave it out.")
    return content if content["trial_id"] == trial_id else None


def _read_interval(entry: Mapping[str, Any], key: str) -> Interval:
    return Interval(entry[key], *entry["ci95"])
