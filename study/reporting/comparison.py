"""Comparison of PAN with the baselines: scores on train, val and test, and PAN's lead with intervals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pan_model.errors import UserError
from pan_model.scores import Interval
from study.config.choices import BASELINES
from study.reporting.final_metrics import PAN, FinalScores
from study.storage.location import Location
from study.trials.ledger import TrialRecord
from study.trials.question_scores import QuestionLists, interval_ahead, interval_of


@dataclass(frozen=True, kw_only=True)
class MethodScores:
    """The value of the objective for one method on each split, None if it is unknown.

    Attributes:
        method: PAN or a baseline's name.
        train: The value on train in the winner's best epoch.
        val: The value on val, with its interval.
        val_ahead: PAN's lead over the method on the same questions of val.
        test: The value on test in the final training.
        test_ahead: PAN's lead over the method on the same questions of test.
    """

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
    final: FinalScores | None,
) -> list[MethodScores]:
    """Return the scores of PAN first, then those of the baselines.

    Args:
        metric: The objective's name.
        winner: The best completed trial; without one PAN has no scores.
        epoch: The winner's best epoch.
        baselines: The validation scores of the baselines that all trials share. Those of the winner's own baselines
            are in its record.
        final: The scores of the final training, if there was one.
    """
    history = winner.history if winner else []
    kept = winner.best if winner and winner.best and winner.best.epoch == epoch else None
    questions = kept.questions[metric] if kept else None
    all_baselines = {**baselines, **(kept.baselines if kept else {})}
    pan = MethodScores(
        method=PAN,
        train=next((record.get(f"train/{metric}") for record in history if record["epoch"] == epoch), None),
        val=interval_of(questions) if questions else None,
        test=final.test.get(PAN) if final else None,
    )
    return [pan, *(_score_baseline(name, metric, questions, all_baselines.get(name), final) for name in BASELINES)]


def _score_baseline(
    name: str,
    metric: str,
    pan_questions: list[float] | None,
    baseline: QuestionLists | None,
    final: FinalScores | None,
) -> MethodScores:
    questions = baseline[metric] if baseline else None
    return MethodScores(
        method=name,
        val=interval_of(questions) if questions else None,
        val_ahead=interval_ahead(pan_questions, questions) if pan_questions and questions else None,
        test=final.test.get(name) if final else None,
        test_ahead=final.ahead.get(name) if final else None,
    )


def check_same_questions(metric: str, scores: Iterable[tuple[Location, QuestionLists]]) -> None:
    """Check that all methods have scores of the same number of questions.

    Args:
        metric: The objective's name.
        scores: The scores of each method and the file that holds them.

    Raises:
        UserError: If a method has no scores of the metric, or not as many as the first method.
    """
    counts = [(file, len(lists.get(metric, ()))) for file, lists in scores]
    for file, count in counts:
        if count == 0:
            raise UserError(f"{file}: must hold scores of {metric} for each method; remove it.")
        if count != counts[0][1]:
            raise UserError(
                f"{file}: must hold {counts[0][1]} scores of {metric} for each method, as {counts[0][0]} does, "
                f"got {count}; remove the one that is damaged."
            )
