"""PAN beside its baselines: each method's scores on train, val and test, and how far PAN is ahead, with intervals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pan_model.errors import UserError
from pan_model.scores import Interval
from study.storage.files import parse_json, read_if_there
from study.storage.location import Location
from study.trials.ledger import TrialRecord
from study.trials.question_scores import (
    BASELINES,
    QuestionLists,
    from_entry,
    interval_ahead,
    interval_of,
    is_finite_number,
)

PAN = "PAN"
LEAVE_OUT = "move its folder away to leave it out"
FINAL_SECTIONS = ("metrics", "baselines", "paired")
"""What is read of a metrics.json, beside its trial_id."""


@dataclass(frozen=True, kw_only=True)
class MethodScores:
    """One method's value of the objective by split, where known; ahead is PAN's lead on the same questions."""

    method: str
    train: float | None = None
    val: Interval | None = None
    val_ahead: Interval | None = None
    test: Interval | None = None
    test_ahead: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class FinalScores:
    """Of a final training's metrics.json the objective alone: of which trial, each method's test, PAN's leads.

    paper is what the file says of paper_setting.
    """

    trial_id: str
    test: Mapping[str, Interval]
    ahead: Mapping[str, Interval]
    paper: Mapping[str, Any] = field(default_factory=dict[str, Any])


def compare_methods(
    metric: str,
    winner: TrialRecord | None,
    epoch: int,
    baselines: Mapping[str, QuestionLists],
    final: FinalScores | None,
) -> list[MethodScores]:
    """PAN first, then the baselines; without a winner PAN has no scores.

    baselines are those that a study's trials share, the winner's own at its best epoch are in its record; final is
    None before a final training.
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
        test=final.test.get(PAN) if final else None,
    )
    return [pan, *(_score_baseline(name, metric, own, of_baselines.get(name), final) for name in BASELINES)]


def _score_baseline(
    name: str,
    metric: str,
    own: list[float] | None,
    baseline: QuestionLists | None,
    final: FinalScores | None,
) -> MethodScores:
    questions = baseline[metric] if baseline else None
    return MethodScores(
        method=name,
        val=interval_of(questions) if questions else None,
        val_ahead=interval_ahead(own, questions) if own and questions else None,
        test=final.test.get(name) if final else None,
        test_ahead=final.ahead.get(name) if final else None,
    )


def check_same_questions(metric: str, answers: Iterable[tuple[Location, QuestionLists]]) -> None:
    """Refuse, by its file, a method that did not answer as many questions as the first one."""
    counts = [(file, len(lists.get(metric, ()))) for file, lists in answers]
    for file, count in counts:
        if count == 0:
            raise UserError(f"{file}: must hold scores of {metric} for each method; remove it.")
        if count != counts[0][1]:
            raise UserError(
                f"{file}: must hold {counts[0][1]} scores of {metric} for each method, as {counts[0][0]} does, "
                f"got {count}; remove the one that is damaged."
            )


def read_final(path: Location, metric: str) -> FinalScores | None:
    """The scores in the metrics.json of the final training, if there is one; a baseline that it lacks is left out."""
    found = read_if_there(path, LEAVE_OUT)
    if found is None:
        return None
    content = parse_json(path, found, LEAVE_OUT)
    if not (
        isinstance(content, dict)
        and isinstance(content.get("trial_id"), str)
        and all(isinstance(content.get(section), dict) for section in FINAL_SECTIONS)
    ):
        fields = ", ".join(("trial_id", *FINAL_SECTIONS))
        raise UserError(f"{path}: must hold {fields}; {LEAVE_OUT}.")
    baselines, paired = content["baselines"], content["paired"]
    test = {name: _read_interval(path, f"baselines.{name}", baselines[name], metric, "mean") for name in baselines}
    return FinalScores(
        trial_id=content["trial_id"],
        test={PAN: _read_interval(path, "metrics", content["metrics"], metric, "mean"), **test},
        ahead={name: _read_interval(path, f"paired.{name}", paired[name], metric, "difference") for name in paired},
        paper=paper if isinstance(paper := content.get("paper_setting"), dict) else {},
    )


def _read_interval(path: Location, field: str, metrics: Any, metric: str, key: str) -> Interval:
    try:
        interval = from_entry(metrics[metric], key)
    except (KeyError, TypeError, ValueError):
        interval = None
    if interval is None or not all(map(is_finite_number, interval)):
        raise UserError(f"{path}: {field}.{metric} must hold {key} and ci95, a number and two; {LEAVE_OUT}.")
    return interval
