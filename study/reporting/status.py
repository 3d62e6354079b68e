"""The status of a study, read from its files. Nothing is written."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pan_model.command_line import counted
from pan_model.objective import Objective
from study.reporting.collation import read_begun_study
from study.reporting.selection import describe_confirmation
from study.storage.driver_file import (
    SILENT_AFTER_S,
    Driver,
    DriverState,
    is_alive,
    is_over,
    process_exists,
    read_driver,
)
from study.storage.files import storage_of
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.terminal import duration
from study.trials.ledger import Status, TrialRecord, count_by_status, count_ended, read_ledger
from study.trials.more_epochs import as_searched, count_missing
from study.trials.selection.confirmation import Selection, select_in_study

QUIET_S = 600.0
"""Seconds without an epoch after which a study without driver.json counts as interrupted."""


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


def describe_status(
    results: StudyPaths, now_s: Callable[[], float] = time.time, here: Callable[[], Path] = Path.cwd
) -> list[str]:
    """Return lines about a study: whether it runs or how it ended, and the trials of each dataset.

    Args:
        results: The study's files.
        now_s: The clock, in Unix seconds.
        here: Returns the current folder.

    Raises:
        UserError: If the folder holds no study, or a file of the study is damaged.
    """
    study = read_begun_study(results)
    driver, now = read_driver(results), now_s()
    over = is_over(driver, now)
    commit = study["provenance"]["git_commit"]
    lines = [f"study {study['name']}, begun {study['provenance']['created']} by commit {commit}"]
    by_dataset: list[str] = []
    last: list[float] = []
    missing = 0
    for dataset, entry in study["datasets"].items():
        files = results.dataset(dataset)
        records = read_ledger(files.trials, best=False)
        times = _times(files.trials, records)
        last += [times.last] if times else []
        searched = as_searched(records, files.trials, Objective(**entry["objective"]), entry["max_epochs"])
        selection = select_in_study(files, entry, records)
        missing += count_missing(searched, entry["num_trials"]) + selection.missing
        by_dataset += _describe_dataset(dataset, entry, records, selection, times, now, over)
    if driver is None:
        lines.append(_guess_state(missing, max(last, default=None), now))
    else:
        lines += _describe_driver(driver, now, here())
    return lines + by_dataset


def _describe_driver(driver: Driver, now_s: float, here: Path) -> list[str]:
    """Return the state of a study by its driver.json, and the command that resumes it if it is not done."""
    silent_s = now_s - driver.heartbeat_s
    place = f"process {driver.pid} on {driver.host}"
    if driver.state is DriverState.RUNNING and is_alive(driver, now_s):
        line = f"running since {_to_second(driver.started)} ({_ago(now_s - driver.started_s)}), {place}"
        if silent_s > SILENT_AFTER_S:
            return [
                f"{line}; no sign of life for {duration(silent_s)}, although the process exists: it may be suspended"
            ]
        if silent_s < -SILENT_AFTER_S:
            seen = _to_second(driver.heartbeat)
            return [f"{line}; last sign of life {seen}, which is in the future by the clock of this machine"]
        return [f"{line}; last sign of life {_ago(silent_s)}"]
    if driver.state is DriverState.RUNNING:
        gone = ", which does not exist any more" if process_exists(driver) is False else ""
        line = (
            f"no sign of life since {_to_second(driver.heartbeat)} ({_ago(silent_s)}) of {place}{gone}: probably killed"
        )
    else:
        line = f"{driver.state} {_to_second(driver.ended or driver.heartbeat)} ({_ago(now_s - driver.ended_s)})"
        line += f": {driver.reason}" if driver.reason else ""
    if driver.state is DriverState.DONE:
        return [line]
    if not driver.resume:
        return [line, "  resume with: the same command and --resume"]
    folder = "" if Path(driver.folder) == here else f" in {driver.folder} on {driver.host}"
    return [line, f"  resume{folder} with: {driver.resume}"]


def _guess_state(missing: int, last_s: float | None, now_s: float) -> str:
    """Return the state of a study without driver.json, by the last epoch that was written."""
    if not missing:
        return "done: every trial has ended"
    if last_s is None:
        return "not known whether it runs: it has no driver.json and no epoch yet"
    judged = "no driver.json, judged by the files of the trials"
    if now_s - last_s > QUIET_S:
        return (
            f"no epoch for {duration(now_s - last_s)}: probably interrupted; the same command with --resume "
            f"continues it ({judged})"
        )
    return f"running, or interrupted since: last epoch {_ago(now_s - last_s)} ({judged})"


def _describe_dataset(
    dataset: str,
    entry: Mapping[str, Any],
    records: list[TrialRecord],
    selection: Selection,
    times: Times | None,
    now_s: float,
    over: bool,
) -> list[str]:
    planned, objective = entry["num_trials"], Objective(**entry["objective"])
    lines = [f"{dataset}: {count_ended(records)}/{counted(planned, 'trial')}, {count_by_status(records, over=over)}"]
    if selection.winner is not None:
        record, value, epoch = selection.winner
        lines.append(f"  best {objective.name} {value:.4f} (val), trial {record.trial_id}, epoch {epoch}")
        lines += [f"  {describe_confirmation(selection)}"] if selection.planned else []
    running = [record for record in records if record.status is Status.RUNNING]
    if times is None or not running:
        return lines
    for record in running:
        lines.append(_describe_running(record, objective, entry["max_epochs"], times, now_s, over))
    return [*lines, _describe_pace(count_ended(records), planned, times, now_s, over)]


def _describe_running(
    record: TrialRecord, objective: Objective, max_epochs: int, times: Times, now_s: float, over: bool
) -> str:
    best = record.best_epoch(objective)
    state = "interrupted" if over else "running"
    line = f"  {state}: trial {record.trial_id}, epoch {len(record.history)}/{max_epochs}"
    if best is None or record.trial_id not in times.by_trial:
        return line
    return f"{line} written {_ago(now_s - times.by_trial[record.trial_id])}, best {best[objective.name]:.4f}"


def _describe_pace(ended: int, planned: int, times: Times, now_s: float, over: bool) -> str:
    line = f"  last epoch {_ago(now_s - times.last)}"
    if over or not ended or ended >= planned or now_s - times.last > QUIET_S:
        return line
    return f"{line}, about {duration((times.last - times.begun) / ended * (planned - ended))} left"


def _to_second(time: str) -> str:
    """Return a time in ISO 8601 without fractions of a second."""
    return datetime.fromisoformat(time).isoformat(timespec="seconds")


def _ago(seconds: float) -> str:
    """Return how long ago something was; clocks of two machines may differ, so the future is now."""
    return f"{duration(max(0.0, seconds))} ago"


def _times(trials: Location, records: Iterable[TrialRecord]) -> Times | None:
    """Return the times, including pauses of an interrupted study; None before the first epoch."""
    begun, last = storage_of(trials).times_in_subfolders(trials, "config.json", "history.jsonl")
    by_trial = {
        record.trial_id: last[record.trial_id] for record in records if record.history and record.trial_id in last
    }
    if not by_trial:
        return None
    return Times(begun=min(begun[trial] for trial in by_trial), last=max(by_trial.values()), by_trial=by_trial)
