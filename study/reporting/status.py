"""The status of a study, read from its files. Nothing is written."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pan_model.objective import Objective
from study.reporting.collation import read_begun_study
from study.storage.files import storage_of
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.terminal import duration
from study.trials.ledger import Status, TrialRecord, best_completed, count_by_status, count_ended, read_ledger

QUIET_S = 600.0
"""Seconds without an epoch after which a study with running trials may have been interrupted."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """Times of a dataset in Unix seconds.

    Attributes:
        begun: The start of the first trial.
        last: The last epoch of any trial.
        by_trial: The last epoch of each trial.
    """

    begun: float
    last: float
    by_trial: Mapping[str, float]


def describe_status(results: StudyPaths, now_s: Callable[[], float] = time.time) -> list[str]:
    """Return lines about each dataset: trials by status, the best so far, running trials and the time left.

    Args:
        results: The study's files.
        now_s: The clock, in Unix seconds.

    Raises:
        UserError: If the folder holds no study, or a file of the study is damaged.
    """
    study = read_begun_study(results)
    commit = study["provenance"]["git_commit"]
    lines = [f"study {study['name']}, begun {study['provenance']['created']} by commit {commit}"]
    for dataset, entry in study["datasets"].items():
        files = results.dataset(dataset)
        records = read_ledger(files.trials, best=False)
        lines += _describe_dataset(dataset, entry, records, _times(files.trials, records), now_s())
    return lines


def _describe_dataset(
    dataset: str, entry: Mapping[str, Any], records: list[TrialRecord], times: Times | None, now_s: float
) -> list[str]:
    planned, objective = entry["num_trials"], Objective(**entry["objective"])
    lines = [f"{dataset}: {count_ended(records)}/{planned} trials, {count_by_status(records)}"]
    best = best_completed(records, objective)
    if best is not None:
        record, value, epoch = best
        lines.append(f"  best {objective.name} {value:.4f} (val), trial {record.trial_id}, epoch {epoch}")
    running = [record for record in records if record.status is Status.RUNNING]
    if times is None or not running:
        return lines
    for record in running:
        lines.append(_describe_running(record, objective, entry["max_epochs"], times, now_s))
    return [*lines, _describe_pace(count_ended(records), planned, times, now_s)]


def _describe_running(record: TrialRecord, objective: Objective, max_epochs: int, times: Times, now_s: float) -> str:
    best = record.best_epoch(objective)
    line = f"  running: trial {record.trial_id}, epoch {len(record.history)}/{max_epochs}"
    if best is None or record.trial_id not in times.by_trial:
        return line
    ago = duration(max(0.0, now_s - times.by_trial[record.trial_id]))
    return f"{line} written {ago} ago, best {best[objective.name]:.4f}"


def _describe_pace(ended: int, planned: int, times: Times, now_s: float) -> str:
    quiet_s = now_s - times.last
    if quiet_s > QUIET_S:
        line = f"  no epoch for {duration(quiet_s)}: if the study was interrupted, the same command with --resume"
        return f"{line} continues it"
    if not ended or ended >= planned:
        return f"  last epoch {duration(max(0.0, quiet_s))} ago"
    left_s = (times.last - times.begun) / ended * (planned - ended)
    return f"  last epoch {duration(max(0.0, quiet_s))} ago, about {duration(left_s)} left"


def _times(trials: Location, records: Iterable[TrialRecord]) -> Times | None:
    """Return the times, including pauses of an interrupted study; None before the first epoch."""
    begun, last = storage_of(trials).times_in_subfolders(trials, "config.json", "history.jsonl")
    by_trial = {
        record.trial_id: last[record.trial_id] for record in records if record.history and record.trial_id in last
    }
    if not by_trial:
        return None
    return Times(begun=min(begun[trial] for trial in by_trial), last=max(by_trial.values()), by_trial=by_trial)
