"""Final training: train a best configuration on train + val from several seeds, and test it once."""

import os
import time
from pathlib import Path
from typing import Any

import torch

from pan_model.backbones.architectures import Backbone, build_backbone
from pan_model.backbones.weights import load_weights
from pan_model.command_line import counted
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.reproducibility import deterministic_arithmetic
from pan_model.scoring.baselines.choice import PAPER_SETTING
from pan_model.trained import BACKBONE as MODEL_BACKBONE
from pan_model.trained import CONFIG, WEIGHTS, save_model
from search_spaces import SPACES
from study.app.final.baselines import PaperResult
from study.app.final.final_input import TRAIN_ON, FinalInput
from study.app.final.jobs import FinalResults, FirstModel, plan_workers, run_final_jobs
from study.app.prepare_again import prepare_again
from study.app.processes.worker_pool import load_ahead
from study.app.report_page import write_report
from study.config.choices import Regime
from study.config.final_config import FinalConfig
from study.config.provenance import provenance
from study.reporting.best_config import read_best_config
from study.reporting.collation import collate
from study.reporting.comparison import scores_on_test
from study.reporting.final_metrics import average_over_seeds, baseline_metrics, model_metrics, paired_differences
from study.reporting.model_card import write_model_card
from study.reporting.next_commands import commands_after_final
from study.reporting.report import best_lines, print_next
from study.storage.files import exists, storage_of, write_json
from study.storage.location import Location, absolute, in_store
from study.storage.paths import StudyPaths
from study.terminal import Terminal, duration
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import as_lists, from_entry

FINAL_SCHEMA = "pan-study/final/1"
METRICS = "metrics.json"
UNFINISHED = f".{METRICS}."
"""Prefix of the files that test whether a store can be written."""

QUESTIONS = "questions.json"

LEFTOVERS = (WEIGHTS, CONFIG, MODEL_BACKBONE, QUESTIONS, "model_card.md")
"""Files that an interrupted final training may leave in a store; the next one overwrites them."""


def train_final(config: FinalConfig, terminal: Terminal) -> int:
    """Train from each seed, test all models on the same questions, and write the folder last.

    Args:
        config: The flags.
        terminal: Shows progress and results.

    Returns:
        The exit code, 0.

    Raises:
        UserError: If the folder exists, or the data or the weights are not those of the study. Nothing is written then.
    """
    best = read_best_config(config.best_config)
    if _exists_already(config.folder):
        raise UserError(f"{config.folder}: exists; move it, or give another --output.")
    plan = plan_workers(config, Regime(best["features"]["regime"]), num_gpus=torch.cuda.device_count())
    storage_of(config.folder).check_writable(config.folder, "the final training", "--output", probe=UNFINISHED)
    started_s = time.monotonic()
    if len(plan.workers) > 1:
        load_ahead(["study.app.final.jobs"])
    with deterministic_arithmetic():
        prepared = prepare_again(best, config, terminal)
        prepared_s = time.monotonic()
        results = run_final_jobs(FinalInput(best=best, prepared=prepared, config=config), plan, terminal)
    metrics = _describe(results, best) | {"left_out": prepared.left_out, "cautions": prepared.cautions}
    ended_s = time.monotonic()
    _write_folder(config.folder, results, prepared, best, metrics)
    terminal.say(_describe_times(prepared_s - started_s, ended_s - prepared_s, results))
    _print_results(config.folder, prepared.row.task.objective.name, metrics, terminal)
    _summarise(config.folder, prepared.dataset, terminal)
    report = StudyPaths(absolute(config.folder).parent.parent).report
    print_next(commands_after_final(config.folder, config.data_root, prepared.dataset, report), terminal)
    return 0


def _describe(results: FinalResults, best: dict[str, Any]) -> dict[str, Any]:
    """Return the content of metrics.json, except what is said of the data."""
    paper = results.paper
    return {
        "schema": FINAL_SCHEMA,
        "dataset": best["dataset"],
        "split": Split.TEST.value,
        "seeds": list(range(len(results.seeds))),
        "metrics": model_metrics(results.seeds),
        "baselines": baseline_metrics(results.baselines),
        "paired": paired_differences(results.seeds, results.baselines),
        "settings": results.settings,
        "not_run": list(results.not_run),
        "relevance": results.first.relevance,
        "scoring": results.first.config.scoring.scoring.value,
        **({} if paper is None else {PAPER_SETTING: _describe_paper(paper, best["dataset"])}),
        "questions": {name: len(questions) for name, questions in results.seeds[0].items()},
        "epochs": best["metric"]["epoch"],
        "trained_on": [split.value for split in TRAIN_ON],
        "trial_id": best["trial_id"],
        "provenance": provenance(),
    }


def _describe_paper(paper: PaperResult, dataset: str) -> dict[str, Any]:
    return {
        "config": paper.config,
        "epochs": paper.epochs.best,
        "chosen_of_epochs": paper.epochs.considered,
        "paper_epochs": SPACES[dataset].paper_epochs,
    }


def _backbone_of(first: FirstModel, best: dict[str, Any], prepared: PreparedDataset) -> Backbone | None:
    """Return the backbone to save with the model: one trained with it, or before the search; else None."""
    if "backbone_training" not in best["features"]:
        return first.backbone
    described = prepared.features
    backbone = first.backbone or build_backbone(described["backbone"], described["pooling"])
    if first.backbone is None:
        load_weights(backbone, described["weights"])
    return backbone


def _write_folder(
    folder: Location, results: FinalResults, prepared: PreparedDataset, best: dict[str, Any], metrics: dict[str, Any]
) -> None:
    first, objective = results.first, prepared.row.task.objective.name
    questions = as_lists({objective: average_over_seeds(results.seeds)[objective]})

    def write(temporary: Path) -> None:
        write_json(temporary / METRICS, metrics)
        write_json(temporary / QUESTIONS, {"trial_id": best["trial_id"], "split": "test", "questions": questions})
        backbone = _backbone_of(first, best, prepared)
        save_model(first.model, first.config, prepared.features, temporary, backbone=backbone)
        write_model_card(temporary / "model_card.md", best, metrics, first.model)

    storage_of(folder).write_folder(folder, write, last=METRICS)


def _exists_already(folder: Location) -> bool:
    """Return whether results exist; files that an interrupted final training left in a store do not count."""
    if not in_store(folder):
        return folder.exists()
    return any(
        file.name not in LEFTOVERS and not file.name.startswith(UNFINISHED)
        for file in storage_of(folder).list_folder(folder)
    )


def _summarise(folder: Location, dataset: str, terminal: Terminal) -> None:
    """Add the test scores to the study's summary, if the folder belongs to a study."""
    results = StudyPaths(absolute(folder).parent.parent)
    if not (exists(results.study) and absolute(folder) == results.dataset(dataset).final_metrics.parent):
        return
    try:
        summary = collate(results)[dataset].summary
    except (UserError, OSError) as error:  # the models are trained and written all the same
        terminal.say(f"the summary was not updated: {error}")
        return
    report = write_report(results, terminal)
    for file in (results.summary, results.report) if report else (results.summary,):
        terminal.say(f"  {os.path.relpath(str(file)) if absolute(folder) != folder else file}")
    for caution in summary.cautions:
        terminal.say(f"caution: {caution}")


def _describe_times(prepared_s: float, jobs_s: float, results: FinalResults) -> str:
    """Return a line with the time of each part; the parts of several processes overlap."""
    parts = ", ".join(f"{part} {duration(time_s)}" for part, time_s in results.times_s.items())
    if results.num_processes > 1:
        parts = f"training and testing {duration(jobs_s)} in {results.num_processes} processes, which overlap: {parts}"
    return f"time: preparation {duration(prepared_s)}, {parts}"


def _print_results(folder: Location, objective: str, metrics: dict[str, Any], terminal: Terminal) -> None:
    model = from_entry(metrics["metrics"][objective], "mean")
    terminal.say(f"PAN {objective} (test, {counted(len(metrics['seeds']), 'seed')}): {model}")
    for line in best_lines(scores_on_test(metrics, objective), Split.TEST, "model_card.md"):
        terminal.say(line)
    terminal.say("made:")
    for path in storage_of(folder).list_folder(folder):
        terminal.say(f"  {path}")
