"""Report: what a study found, what it made and what to type next."""

from pathlib import Path

from pan_model.data.registry import find_dataset
from study.config import DatasetPlan, StudyConfig
from study.ledger import read_ledger
from study.screen import Screen, count_by_status
from study.tables import best_completed


def report_study(config: StudyConfig, screen: Screen) -> int:
    """Say how each dataset went and where its files are; gives 0, or 1 when no trial completed anywhere."""
    won = [plan for plan in config.plans if _report_dataset(config, plan, screen)]
    results = config.results
    made = [results.summary, results.study, results.tensorboard]
    for plan in config.plans:
        files = results.of(plan.dataset)
        made += [files.trials_table, files.history_table, files.journal, *([files.best_config] if plan in won else [])]
    screen.say("made:")
    for path in made:
        screen.say(f"  {path}")
    screen.say("next:")
    screen.say(f"  tensorboard --logdir {results.tensorboard}")
    for plan in config.plans:
        screen.say(f"  optuna-dashboard {results.of(plan.dataset).journal}")
    for plan in won:
        screen.say(f"  {_final_command(config, results.of(plan.dataset).best_config)}")
    return 0 if won else 1


def _report_dataset(config: StudyConfig, plan: DatasetPlan, screen: Screen) -> bool:
    """Say what one dataset's trials came to; whether any of them completed."""
    files, task = config.results.of(plan.dataset), find_dataset(plan.dataset).task
    records = read_ledger(files.trials)
    screen.say(f"{plan.dataset}: {len(records)} trials, {count_by_status(records)}")
    best = best_completed(records, task.objective, task.mode)
    if best is None:
        screen.say(f"{plan.dataset}: no trial completed; the column error of {files.trials_table} says why")
        return False
    record, value, epoch = best
    screen.say(f"{plan.dataset}: best {task.objective} {value:.4f} (val), trial {record.trial_id}, epoch {epoch}")
    return True


def _final_command(config: StudyConfig, best_config: Path) -> str:
    command = f"uv run study/final.py {best_config} --data-root {config.data_root} --seeds 5"
    default = StudyConfig.__dataclass_fields__["cache_dir"].default
    return command if config.cache_dir == default else f"{command} --cache-dir {config.cache_dir}"
