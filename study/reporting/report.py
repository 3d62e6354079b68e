"""The report at the end of a study: results, files and the commands that may follow."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from pan_model.command_line import counted
from study.config.dataset_plan import DatasetPlan
from study.config.study_config import DEFAULT_CACHE, StudyConfig
from study.reporting.collation import Collated
from study.reporting.summary import DatasetSummary
from study.storage.files import exists
from study.storage.location import Location, in_store
from study.storage.paths import StudyPaths
from study.terminal import Terminal
from study.trials.ledger import Status, count_by_status
from study.trials.more_epochs import as_searched, count_missing
from study.trials.question_scores import describe_lead


def report_study(config: StudyConfig, collated: Mapping[str, Collated], terminal: Terminal, ended_by: str = "") -> int:
    """Print the result of each dataset, the files of the study and the commands that may follow.

    Args:
        config: The study.
        collated: The trials and the summary of each dataset.
        terminal: Prints the lines.
        ended_by: Why the search ended early, if a limit of time or hardware ended it.

    Returns:
        The exit code: 0, or 1 if no trial completed on any dataset.
    """
    completed = [_report_dataset(config, plan, collated[plan.dataset], ended_by, terminal) for plan in config.plans]
    terminal.say("made:")
    for path in _files_made(config):
        terminal.say(f"  {path}")
    commands = next_commands(config, {plan.dataset: collated[plan.dataset].summary for plan in config.plans})
    for line in ("next:", *(f"  {command}" for command in commands)) if commands else ():
        terminal.say(line)
    return 0 if any(completed) else 1


def next_commands(config: StudyConfig, summaries: Mapping[str, DatasetSummary]) -> list[str]:
    """Return the commands that may follow: viewers, and a final training for each winner that had none."""
    results, journals = config.results, config.results
    commands: list[str] = []
    if exists(results.tensorboard):
        commands.append(shlex.join(["uv", "run", "tensorboard", "--logdir", str(results.tensorboard)]))
    if in_store(results.root):  # the journal's viewer needs a file
        journals = StudyPaths(Path("copies") / config.study_name)
        commands.append(shlex.join(["uv", "run", "study/collate.py", str(results.root), "--copy", str(journals.root)]))
    for dataset in summaries:
        if exists(results.dataset(dataset).journal):
            commands.append(shlex.join(["uv", "run", "optuna-dashboard", str(journals.dataset(dataset).journal)]))
    for dataset, summary in summaries.items():
        if summary.best is not None and all(scores.test is None for scores in summary.scores):
            commands.append(_final_command(config, results.dataset(dataset).best_config))
    return commands


def _report_dataset(
    config: StudyConfig, plan: DatasetPlan, collated: Collated, ended_by: str, terminal: Terminal
) -> bool:
    """Print the result of one dataset; return whether a trial completed."""
    records, summary = collated
    terminal.say(f"{plan.dataset}: {counted(len(records), 'trial')}, {count_by_status(records, over=True)}")
    objective = plan.row.task.objective
    searched = as_searched(records, config.results.dataset(plan.dataset).trials, objective, plan.max_epochs)
    if count_missing(searched, plan.num_trials):
        reason = ended_by or "the space was used up"
        terminal.say(
            f"{plan.dataset}: {reason} before {counted(plan.num_trials, 'trial')} had ended; --resume continues"
        )
    if any(record.status is Status.FAILED for record in records):
        table = config.results.dataset(plan.dataset).trials_table
        terminal.say(f"{plan.dataset}: the column error of {table} says why trials failed")
    if summary.best is None:
        terminal.say(f"{plan.dataset}: no trial completed")
        return False
    record, value, epoch = summary.best
    terminal.say(f"{plan.dataset}: best {summary.metric} {value:.4f} (val), trial {record.trial_id}, epoch {epoch}")
    print_comparison(summary, terminal)
    return True


def print_comparison(summary: DatasetSummary, terminal: Terminal) -> None:
    """Print each baseline's score on val with PAN's lead, and the cautions."""
    for scores in summary.scores:
        if scores.val is not None and scores.val_ahead is not None:
            terminal.say(f"  {scores.method}: {scores.val.mean:.4f}; PAN {describe_lead(scores.val_ahead)}")
    for caution in summary.cautions:
        terminal.say(f"  caution: {caution}")


def _files_made(config: StudyConfig) -> list[Location]:
    results = config.results
    paths = [results.report, results.summary, results.study, results.tensorboard]
    for plan in config.plans:
        files = results.dataset(plan.dataset)
        paths += [files.best_config, files.backbone, files.trials_table, files.history_table, files.journal]
    return [path for path in paths if exists(path)]


def _final_command(config: StudyConfig, best_config: Location) -> str:
    words = ["uv", "run", "study/final.py", best_config, "--data-root", config.data_root, "--seeds", 5]
    if config.cache_dir != DEFAULT_CACHE:
        words += ["--cache-dir", config.cache_dir]
    if config.skip_bad_images:
        words += ["--skip-bad-images"]
    return shlex.join(map(str, words))
