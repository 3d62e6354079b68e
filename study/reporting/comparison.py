"""Comparison of PAN with the baselines: scores on train, val and test, and PAN's lead with intervals."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.scores import Interval
from study.config.choices import BASELINES
from study.reporting.final_metrics import PAN, FinalScores
from study.storage.location import Location
from study.trials.ledger import TrialRecord
from study.trials.question_scores import QuestionLists, describe_lead, from_entry, interval_ahead, interval_of


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
    names: Collection[str] = BASELINES,
) -> list[MethodScores]:
    """Return the scores of PAN first, then those of the baselines, in the order of tables.

    Args:
        metric: The objective's name.
        winner: The best completed trial; without one PAN has no scores.
        epoch: The winner's best epoch.
        baselines: The validation scores of the baselines that all trials share, and of the winner's own in its
            baselines.json. Others of its own are in its record.
        final: The scores of the final training, if there was one.
        names: The baselines of the dataset, which are in the result also if they have no scores yet.
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
    having = {*names, *all_baselines, *(final.test if final else ())}
    return [
        pan,
        *(
            _score_baseline(name, metric, questions, all_baselines.get(name), final)
            for name in BASELINES
            if name in having
        ),
    ]


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


def scores_on_test(metrics: Mapping[str, Any], objective: str) -> list[MethodScores]:
    """Return the scores in a metrics.json, of PAN first.

    Args:
        metrics: The content of the file.
        objective: The metric's name.
    """
    baselines = [
        MethodScores(
            method=name,
            test=from_entry(entries[objective], "mean"),
            test_ahead=from_entry(metrics["paired"][name][objective], "difference"),
        )
        for name, entries in metrics["baselines"].items()
    ]
    return [MethodScores(method=PAN, test=from_entry(metrics["metrics"][objective], "mean")), *baselines]


class Lead(NamedTuple):
    """PAN's lead over a baseline on a split: the baseline, its score, and the lead on the same questions."""

    method: str
    score: Interval
    ahead: Interval


def rank_baselines(scores: Sequence[MethodScores], split: Split) -> list[Lead]:
    """Return PAN's lead over each baseline on val or test, the best baseline first; those without scores are left out.

    Args:
        scores: The scores of the methods. More is better in all metrics.
        split: Val or test.
    """
    on_test = split is Split.TEST
    leads = [
        Lead(entry.method, score, ahead)
        for entry in scores
        if (score := entry.test if on_test else entry.val) is not None
        and (ahead := entry.test_ahead if on_test else entry.val_ahead) is not None
    ]
    return sorted(leads, key=lambda lead: -lead.score.mean)


def describe_best(scores: Sequence[MethodScores], split: Split) -> str:
    """Return a sentence with PAN's lead over the best baseline on a split; empty if none has been scored."""
    leads = rank_baselines(scores, split)
    if not leads:
        return ""
    best, which = leads[0], "the only baseline" if len(leads) == 1 else f"the best of {len(leads)} baselines"
    return f"PAN compared with {best.method}, {which} on {split}: {describe_lead(best.ahead)}."


def describe_settings(settings: Mapping[str, Mapping[str, Scalar]]) -> str:
    """Return the settings of baselines in words, in the order of tables.

    >>> describe_settings({"reranked": {"k1": 20, "k2": 6}, "lda": {"shrinkage": 0.5}})
    'lda (shrinkage 0.5); reranked (k1 20, k2 6)'
    """
    return "; ".join(f"{name} ({describe_setting(settings[name])})" for name in BASELINES if name in settings)


def describe_setting(setting: Mapping[str, Scalar]) -> str:
    """Return a setting in words.

    >>> describe_setting({"k1": 20, "k2": 6})
    'k1 20, k2 6'
    """
    return ", ".join(f"{name} {value}" for name, value in setting.items())


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
