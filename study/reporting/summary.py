"""The summary of a study: summary.md for people, summary.csv with one row for each dataset."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pan_model.data.splits import Split
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import Interval
from study.config.choices import BASELINES_OF_0_1, Regime
from study.config.search_space import full_space
from study.reporting.cautions import find_cautions, find_foreign_final, find_short_paper
from study.reporting.comparison import (
    MethodScores,
    check_same_questions,
    compare_methods,
    describe_best,
    describe_settings,
    rank_baselines,
)
from study.reporting.final_metrics import PAN, read_final
from study.reporting.relevance import describe_relevance, find_idle_attributes
from study.reporting.selection import describe_selection, find_selection_cautions
from study.reporting.tables import markdown_table, parameter_table, to_csv
from study.storage.files import write_text
from study.storage.location import Location
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.first_trials import find_trial
from study.trials.ledger import Status, TrialLedger, TrialRecord
from study.trials.question_scores import QuestionLists, Settings, describe_lead, read_baselines, read_settings
from study.trials.selection.confirmation import Selection, select_in_study

HOW_TO_READ = (
    'All methods answer the same questions; intervals are 95% over questions, those of "PAN is" question by question.',
    'Trials are chosen on val, so the winner\'s value there is optimistic. "Confirmed" is the mean of new runs, judged',
    "once on fresh questions about other classes, which may be easier or harder. Where the value on train, from fewer",
    "questions, is far above that on val, the model overfits the training classes. The test split is read once, by",
    "`study/final.py`. The best of several baselines is found by the same questions, which favours it. Settings of",
    "baselines are chosen on val. On val, paper_setting has as many epochs as the trials and at most 8192 pairs in",
    "each; on test, all pairs and up to the paper's number of epochs, on train + val.",
)

MOST_UNREADABLE = 3
"""Number of unreadable images that summary.md names."""


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """The result on one dataset.

    Attributes:
        dataset: The name of the dataset.
        metric: The name of the objective.
        planned: The number of trials that the study requests.
        by_status: The number of trials by status.
        epochs_spent: The number of epochs of all trials.
        epochs_saved: The number of epochs that completed and stopped trials did not run.
        best: The winner, its value on val at selection and its epoch; None if no trial completed.
        scores: The scores of PAN and the baselines.
        cautions: The cautions about the data and the winner.
        first_trials: The first trials that were given: the source, the id, the status and the best value of each.
        notes: What a user should know of how the dataset was read, and what was left out.
        selection: The trials among which the winner was chosen, and their confirmation.
        settings: The settings of baselines that were chosen on val.
    """

    dataset: str
    metric: str
    planned: int
    by_status: dict[str, int]
    epochs_spent: int
    epochs_saved: int
    selection: Selection
    best: tuple[TrialRecord, float, int] | None
    scores: list[MethodScores]
    cautions: list[str]
    first_trials: list[tuple[str, str, str, str]] = field(default_factory=list[tuple[str, str, str, str]])
    notes: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)


def summarise_dataset(files: DatasetPaths, entry: Mapping[str, Any], records: list[TrialRecord]) -> DatasetSummary:
    """Summarise a dataset's trials, and compare the winner with the baselines.

    Args:
        files: The dataset's files, of which baselines.json and the final training's metrics.json are read.
        entry: The dataset's entry in study.json.
        records: The dataset's trials, the winner with its scores of all questions.

    Raises:
        UserError: If a file is damaged, or methods were not scored on the same questions.
    """
    objective = Objective(**entry["objective"])
    selection = select_in_study(files, entry, records)
    best = selection.winner
    ended = [record for record in records if record.status in (Status.COMPLETED, Status.STOPPED)]
    winner, _, epoch = best or (None, 0.0, 0)
    scores, cautions = _compare(files, entry, objective.name, winner, epoch, [record.config for record in records])
    cautions += find_selection_cautions(selection)
    return DatasetSummary(
        dataset=files.dataset,
        metric=objective.name,
        planned=entry["num_trials"],
        by_status={status.value: sum(record.status is status for record in records) for status in Status},
        epochs_spent=sum(len(record.history) for record in records),
        epochs_saved=sum(entry["max_epochs"] - len(record.history) for record in ended),
        selection=selection,
        best=best,
        scores=scores,
        cautions=[*entry.get("data", {}).get("cautions", []), *cautions],
        first_trials=[_first_trial_row(trial, records, objective) for trial in entry.get("first_trials", [])],
        notes=tuple(_describe_data(entry.get("data", {}))),
        settings={
            name: setting for file in _baseline_files(files, winner) for name, setting in read_settings(file).items()
        },
    )


def _describe_data(data: Mapping[str, Any]) -> list[str]:
    """Describe how the data of a study were read, and what was left out, with the reason of the first images."""
    unreadable = [f"{name} ({reason.removesuffix('.')})" for name, reason in data.get("unreadable", {}).items()]
    more = f"; {len(unreadable) - MOST_UNREADABLE} more in study.json" if len(unreadable) > MOST_UNREADABLE else ""
    return [
        *data.get("notes", ()),
        *(f"{count} left out ({reason})" for reason, count in data.get("left_out", {}).items()),
        *([f"not read: {', '.join(unreadable[:MOST_UNREADABLE])}{more}"] if unreadable else []),
    ]


def _compare(
    files: DatasetPaths,
    entry: Mapping[str, Any],
    metric: str,
    winner: TrialRecord | None,
    epoch: int,
    configs: Sequence[Mapping[str, Scalar]],
) -> tuple[list[MethodScores], list[str]]:
    """Return the scores of PAN and the baselines, and the cautions about the winner."""
    by_file = {file: read_baselines(file) for file in _baseline_files(files, winner)}
    check_same_questions(metric, _scores_by_file(files, winner, by_file))
    baselines = {name: lists for scores in by_file.values() for name, lists in scores.items()}
    names = entry.get("baselines", BASELINES_OF_0_1)
    if winner is None:
        return compare_methods(metric, None, epoch, baselines, None, names), []
    final = read_final(files.final_metrics, metric)
    foreign = find_foreign_final(Path(files.dataset, files.final_metrics.parent.name), final, winner.trial_id)
    final = None if foreign else final
    scores = compare_methods(metric, winner, epoch, baselines, final, names)
    space = full_space(files.dataset, Regime(entry["features"]["regime"]))
    cautions = find_cautions(space, winner.config, epoch, scores, entry.get("space"), configs)
    idle = find_idle_attributes(_relevance(winner, epoch))
    return scores, [*foreign, *cautions, *idle, *find_short_paper(final.paper if final else {})]


def _relevance(winner: TrialRecord, epoch: int) -> Mapping[str, float]:
    """Return the mean relevance of the winner's conditions; empty for studies made before it was recorded."""
    return winner.best.relevance if winner.best and winner.best.epoch == epoch else {}


def _baseline_files(files: DatasetPaths, winner: TrialRecord | None) -> list[Location]:
    """Return the baselines.json of the dataset and of the winner, which has those that depend on its normalisation."""
    of_winner = [] if winner is None else [TrialLedger(files.trials / winner.trial_id).baselines_file]
    return [files.baselines, *of_winner]


def _scores_by_file(
    files: DatasetPaths, winner: TrialRecord | None, baselines: Mapping[Location, Mapping[str, QuestionLists]]
) -> list[tuple[Location, QuestionLists]]:
    """Return the validation scores of each method with their file, those of the winner first."""
    scores = [(file, lists) for file, of_file in baselines.items() for lists in of_file.values()]
    if winner is None or winner.best is None:
        return scores
    file = TrialLedger(files.trials / winner.trial_id).best_epoch_file
    return [(file, lists) for lists in (winner.best.questions, *winner.best.baselines.values())] + scores


def write_summary(
    results: StudyPaths, study: Mapping[str, Any], ledger: Mapping[str, list[TrialRecord]], *, over: bool = False
) -> list[DatasetSummary]:
    """Write summary.md and summary.csv.

    Args:
        results: The study's files.
        study: The content of study.json.
        ledger: The trials of each dataset.
        over: Whether the study has ended: trials that are running in the ledger were then interrupted.

    Returns:
        The summary of each dataset.
    """
    summaries = [
        summarise_dataset(results.dataset(dataset), entry, ledger[dataset])
        for dataset, entry in study["datasets"].items()
    ]
    write_text(results.summary_table, to_csv((), [summary_row(summary) for summary in summaries]))
    write_text(results.summary, "\n".join(_page(study["name"], summaries, over)) + "\n")
    return summaries


def summary_row(summary: DatasetSummary) -> dict[str, Any]:
    """Return a row of summary.csv; unknown values are None."""
    winner, value, epoch = summary.best or (None, None, None)
    return {
        "dataset": summary.dataset,
        "planned": summary.planned,
        **summary.by_status,
        "metric": summary.metric,
        "split": "val",
        "best_value": value,
        "best_epoch": epoch,
        "best_trial": winner.trial_id if winner else None,
        **_confirmed_columns(summary.selection),
        "epochs_spent": summary.epochs_spent,
        "epochs_confirming": summary.selection.epochs_spent,
        "epochs_saved": summary.epochs_saved,
        **{key: value for scores in summary.scores for key, value in _columns(scores).items()},
        **{
            key: value
            for split in (Split.VAL, Split.TEST)
            for key, value in _best_columns(summary.scores, split).items()
        },
        "cautions": "; ".join(summary.cautions),
        "config": json.dumps(winner.config, ensure_ascii=False) if winner else None,
    }


def _confirmed_columns(selection: Selection) -> dict[str, float | int | None]:
    """Return the winner's confirmed value with its interval, and the number of runs; None if it is not confirmed."""
    chosen = selection.chosen
    mean, low, high = (chosen.confirmed if chosen else None) or (None, None, None)
    seeds = len(chosen.judged) if chosen else None
    return {"confirmed": mean, "confirmed_low": low, "confirmed_high": high, "confirmed_seeds": seeds}


def _columns(scores: MethodScores) -> dict[str, float | None]:
    """Return one method's columns: train.PAN, val.PAN, val_low.PAN, val_high.PAN, val_ahead.paper_setting, ...

    Only PAN has a score on train, and only the others a lead of PAN.
    """
    is_pan = scores.method == PAN
    columns = {"train": scores.train} if is_pan else {}
    for name in ("val", "test") if is_pan else ("val", "val_ahead", "test", "test_ahead"):
        interval: Interval | None = getattr(scores, name)
        mean, low, high = interval or (None, None, None)
        columns |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return {f"{name}.{scores.method}": value for name, value in columns.items()}


def _best_columns(scores: Sequence[MethodScores], split: Split) -> dict[str, Any]:
    """Return the columns of the best baseline on a split: val_best_baseline, val_ahead_of_best, ..._low, ..._high."""
    leads = rank_baselines(scores, split)
    name, (mean, low, high) = (leads[0].method, leads[0].ahead) if leads else (None, (None, None, None))
    ahead = f"{split}_ahead_of_best"
    return {f"{split}_best_baseline": name, ahead: mean, f"{ahead}_low": low, f"{ahead}_high": high}


def _page(study: str, summaries: list[DatasetSummary], over: bool) -> list[str]:
    statuses = [status.value for status in Status]
    heads = ("dataset", "metric", "winner (val)", "confirmed", *statuses, "epochs spent", "confirming", "saved")
    running = "(interrupted, --resume continues)" if over else "(or interrupted: --resume continues)"
    rows = [
        (
            summary.dataset,
            summary.metric,
            f"{summary.best[1]:.4f}" if summary.best else "none",
            _short_confirmation(summary.selection),
            *(
                f"{count} {running}" if count and status == Status.RUNNING else count
                for status, count in summary.by_status.items()
            ),
            summary.epochs_spent,
            summary.selection.epochs_spent,
            summary.epochs_saved,
        )
        for summary in summaries
    ]
    lines = [f"# Study {study}", "", *markdown_table(heads, rows), "", *HOW_TO_READ]
    for summary in summaries:
        lines += ["", f"## Best on {summary.dataset}", "", *(f"Data: {note}.\n" for note in summary.notes)]
        lines += [*_describe_best(summary), *_describe_first_trials(summary)]
    return lines


def _short_confirmation(selection: Selection) -> str:
    """Return the confirmed value of the winner, or that it is not confirmed."""
    chosen = selection.chosen
    return str(chosen.confirmed) if chosen else "no" if selection.winner else ""


def _describe_first_trials(summary: DatasetSummary) -> list[str]:
    """Return a table of the first trials that were given, and where they are from."""
    if not summary.first_trials:
        return []
    heads = ("from", "trial", "status", summary.metric)
    return ["", "Trials that were given:", "", *markdown_table(heads, summary.first_trials)]


def _first_trial_row(
    given: Mapping[str, Any], records: list[TrialRecord], objective: Objective
) -> tuple[str, str, str, str]:
    record = find_trial(given["config"], records)
    if record is None:
        return given["source"], "", "not started", ""
    best = record.best_epoch(objective)
    return given["source"], record.trial_id, record.status.value, f"{best[objective.name]:.4f}" if best else ""


def _describe_best(summary: DatasetSummary) -> list[str]:
    methods = _describe_methods(summary)
    cautions = [f"**Caution**: {caution}.\n" for caution in summary.cautions]
    if summary.best is None:
        return [f"No trial has completed; {summary.metric}:", "", *methods, "", *cautions]
    winner, _, epoch = summary.best
    relevance = describe_relevance(_relevance(winner, epoch), "random pairs of val images")
    return [
        f"Trial {winner.trial_id}, epoch {epoch}; {summary.metric}:",
        "",
        *methods,
        *describe_selection(summary.selection, summary.scores[0].test),
        *cautions,
        *parameter_table(winner.config),
        *(["", *relevance] if relevance else []),
    ]


def _describe_methods(summary: DatasetSummary) -> list[str]:
    """Return the table of PAN and the baselines; without a final training it has no test columns but a hint."""
    heads = ["method", "train", "val", "PAN is"]
    rows = [
        [
            scores.method,
            "" if scores.train is None else f"{scores.train:.4f}",
            scores.val,
            _lead(scores.val_ahead),
        ]
        for scores in summary.scores
    ]
    tested = any(scores.test is not None for scores in summary.scores)
    if tested:
        heads += ["test", "PAN is"]
        rows = [[*row, scores.test, _lead(scores.test_ahead)] for row, scores in zip(rows, summary.scores, strict=True)]
    lines = markdown_table(heads, [["" if cell is None else cell for cell in row] for row in rows])
    sentences = [describe_best(summary.scores, split) for split in (Split.TEST, Split.VAL)]
    lines += ["", *(sentence for sentence in sentences if sentence)] if any(sentences) else []
    lines += ["", f"Settings chosen on val: {describe_settings(summary.settings)}."] if summary.settings else []
    if not tested and summary.best is not None:
        lines += ["", f"No test scores yet: `study/final.py` with `{summary.dataset}/best_config.json` adds them."]
    return lines


def _lead(lead: Interval | None) -> str:
    return "" if lead is None else describe_lead(lead)
