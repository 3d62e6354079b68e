"""Report: what a study found, what it made and what to type next."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from study.config.study_config import DEFAULT_CACHE, DatasetPlan, StudyConfig
from study.reporting.collation import Collated
from study.reporting.summary import DatasetSummary
from study.storage.files import exists
from study.storage.location import Location, in_store
from study.storage.paths import StudyPaths
from study.terminal import Terminal
from study.trials.ledger import Status, count_by_status, count_ended


def report_study(config: StudyConfig, collated: Mapping[str, Collated], screen: Terminal, ended_by: str = "") -> int:
    """Say how each dataset went and where its files are; gives 0, or 1 when no trial completed anywhere.

    ended_by says what there was too little of for a search that lacks trials.
    """
    won = [plan for plan in config.plans if _report_dataset(config, plan, collated[plan.dataset], ended_by, screen)]
    screen.say("made:")
    for path in _files_made(config):
        screen.say(f"  {path}")
    commands = next_commands(config, {plan.dataset: collated[plan.dataset].summary for plan in config.plans})
    for line in ("next:", *(f"  {command}" for command in commands)) if commands else ():
        screen.say(line)
    return 0 if won else 1


def next_commands(config: StudyConfig, summaries: Mapping[str, DatasetSummary]) -> list[str]:
    """What to type next: viewers of what there is to see, and a final training where a winner has had none."""
    results, journals = config.results, config.results
    commands: list[str] = []
    if exists(results.tensorboard):
        commands.append(shlex.join(["uv", "run", "tensorboard", "--logdir", str(results.tensorboard)]))
    if in_store(results.root):  # the journal's viewer wants a file
        journals = StudyPaths(Path("copies") / config.study_name)
        commands.append(shlex.join(["uv", "run", "study/collate.py", str(results.root), "--copy", str(journals.root)]))
    for dataset in summaries:
        if exists(results.dataset(dataset).journal):
            commands.append(shlex.join(["uv", "run", "optuna-dashboard", str(journals.dataset(dataset).journal)]))
    for dataset, summary in summaries.items():
        if summary.best is not None and all(one.test is None for one in summary.scores):
            commands.append(_final_command(config, results.dataset(dataset).best_config))
    return commands


def _report_dataset(
    config: StudyConfig, plan: DatasetPlan, collated: Collated, ended_by: str, screen: Terminal
) -> bool:
    """Say what one dataset's trials came to; whether any of them completed."""
    records, summary = collated
    screen.say(f"{plan.dataset}: {len(records)} trials, {count_by_status(records, over=True)}")
    if count_ended(records) < plan.num_trials:
        why = ended_by or "the space was used up"
        screen.say(f"{plan.dataset}: {why} before {plan.num_trials} trials had ended; --resume goes on")
    if any(record.status is Status.FAILED for record in records):
        table = config.results.dataset(plan.dataset).trials_table
        screen.say(f"{plan.dataset}: the column error of {table} says why trials failed")
    if summary.best is None:
        screen.say(f"{plan.dataset}: no trial completed")
        return False
    record, value, epoch = summary.best
    screen.say(f"{plan.dataset}: best {summary.metric} {value:.4f} (val), trial {record.trial_id}, epoch {epoch}")
    say_comparison(summary, screen)
    return True


def say_comparison(summary: DatasetSummary, screen: Terminal) -> None:
    """Say how far PAN is ahead of each baseline on val, and what to be careful of."""
    for one in summary.scores:
        if one.val is not None and one.val_ahead is not None:
            screen.say(f"  {one.method}: {one.val.mean:.4f}; PAN ahead by {one.val_ahead}")
    for caution in summary.cautions:
        screen.say(f"  caution: {caution}")


def _files_made(config: StudyConfig) -> list[Location]:
    results = config.results
    paths = [results.summary, results.study, results.tensorboard]
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
