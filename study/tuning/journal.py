"""Optuna's journal, built from the ledger."""

import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation  # the operation codes of the file
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, TrialState

from pan_model.errors import faults_at
from pan_model.files import atomic_write
from pan_model.flat import Scalar
from pan_model.objective import Objective
from study.config.search_space import Parameters, replay
from study.storage.files import write_file
from study.storage.location import Location, local_path
from study.storage.object_store import StoreError
from study.trials.ledger import Status, TrialRecord
from study.tuning.dataset_search import DatasetSearch

STATES = {Status.COMPLETED: TrialState.COMPLETE, Status.STOPPED: TrialState.PRUNED, Status.FAILED: TrialState.FAIL}
"""Optuna's states of trials that have ended."""

DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}

TRIALS_PER_WRITE = 1000
"""Number of trials that are written to the disk at a time when a journal is rebuilt."""

COPY_INTERVAL_S = 30.0
"""Time between two copies of a journal to an object store: each copy sends all of the file."""


class Journal:
    """Write the journal while a search runs: a line for the start of a trial, for each epoch and for its end.

    Dashboards read the journal; samplers use `SamplerMemory`. All parameters of a trial are written in one line:
    for each parameter, Optuna would write a line, take a lock and wait for the disk.

    Args:
        path: The file of the journal, which is rebuilt.
        records: The trials of the ledger.
        search: The search of the dataset.
    """

    def __init__(self, path: Path, records: Sequence[TrialRecord], search: DatasetSearch) -> None:
        write_journal(path, records, search)
        self._path = path
        self._file = JournalFileBackend(str(path))
        self._num_trials = sum(record.status is not Status.RUNNING for record in records)

    def trial_started(self, trial_id: str, parameters: Parameters) -> int:
        """Write the start of a trial, and return its number in the journal."""
        self._append(_trial_entry(trial_id, parameters, TrialState.RUNNING) | {"datetime_start": _now()})
        self._num_trials += 1
        return self._num_trials - 1

    def epoch_reported(self, number: int, epoch: int, value: float) -> None:
        """Write an epoch of a trial."""
        self._append(
            _entry(JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE, trial_id=number, step=epoch, intermediate_value=value)
        )

    def trial_finished(self, number: int, state: TrialState, value: float | None) -> None:
        """Write the end of a trial."""
        values = None if value is None else [value]
        operation = JournalOperation.SET_TRIAL_STATE_VALUES
        self._append(_entry(operation, trial_id=number, state=state, values=values, datetime_complete=_now()))

    def _append(self, line: dict[str, Any]) -> None:
        with faults_at(self._path):
            self._file.append_logs([line])


class JournalCopy:
    """Keep a journal in an object store up to date with a local file, to which lines can be appended.

    Results on a disk need no copy: `file` is then the journal itself. Nothing depends on the copy, since a resumed
    study rebuilds its journal from the ledger.

    Args:
        journal: The location of the journal.
        folder: The folder of the local file, for results in an object store.
        clock: Returns seconds.
    """

    def __init__(self, journal: Location, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._journal = journal
        self._clock = clock
        self._copied_s = clock()
        self.file = local_path(journal) or folder / journal.name

    def copy(self, *, now: bool = False) -> None:
        """Copy the journal to the object store if that is due; do nothing for results on a disk.

        With `now` the copy is made in any case, and a StoreError is raised. Otherwise a failed copy is tried again when
        the next one is due.
        """
        if self.file == self._journal or not (now or self._clock() - self._copied_s >= COPY_INTERVAL_S):
            return
        self._copied_s = self._clock()
        try:
            write_file(self._journal, partial(shutil.copyfile, self.file))
        except StoreError:
            if now:
                raise


def write_journal(path: Path, records: Sequence[TrialRecord], search: DatasetSearch) -> None:
    """Replace the journal by one of the ended trials of the ledger.

    Locks that a killed process left are removed, since a study has one driver at a time.

    Args:
        path: The file of the journal, which is replaced when the new one is complete.
        records: The trials of the ledger.
        search: The search of the dataset.
    """
    for leftover in (*path.parent.glob(f"{path.name}.lock*"), *path.parent.glob(f".{path.name}*")):
        leftover.unlink(missing_ok=True)
    directions = [DIRECTIONS[search.objective.mode]]
    ended = [record for record in records if record.status is not Status.RUNNING]
    with atomic_write(path) as temporary:
        file = JournalFileBackend(str(temporary))
        file.append_logs([_entry(JournalOperation.CREATE_STUDY, study_name=search.dataset, directions=directions)])
        for first in range(0, len(ended), TRIALS_PER_WRITE):
            file.append_logs([_ended_entry(record, search) for record in ended[first : first + TRIALS_PER_WRITE]])


def correct_journal(path: Path, records: Sequence[TrialRecord], search: DatasetSearch) -> None:
    """Rebuild the journal if it differs from the ledger, for example after trials were interrupted or never started."""
    journaled = _states_in(path)
    ended = {record.trial_id: STATES[record.status] for record in records if record.status is not Status.RUNNING}
    if len(journaled) != len(ended) or dict(journaled) != ended:
        write_journal(path, records, search)


def _states_in(path: Path) -> list[tuple[str | None, TrialState]]:
    """Return the id, if it has one, and the state of every trial in a journal."""
    names: list[str | None] = []
    states: list[TrialState] = []
    for line in JournalFileBackend(str(path)).read_logs(0):
        if line["op_code"] == JournalOperation.CREATE_TRIAL:
            names.append(line.get("user_attrs", {}).get("trial_id"))
            states.append(TrialState(line.get("state", TrialState.RUNNING)))
        elif line["op_code"] == JournalOperation.SET_TRIAL_USER_ATTR and "trial_id" in line["user_attr"]:
            names[line["trial_id"]] = line["user_attr"]["trial_id"]
        elif line["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES:
            states[line["trial_id"]] = TrialState(line["state"])
    return list(zip(names, states, strict=True))


def points_to_try(records: Sequence[TrialRecord], search: DatasetSearch) -> list[dict[str, Scalar]]:
    """Return the points to try before the sampler suggests: interrupted trials, then first trials not yet started."""
    interrupted = [replay(search.space, record.config).values for record in records if record.status is Status.RUNNING]
    started = {search.identify_as_new(record.config) for record in records}

    def starts_first(point: dict[str, Scalar]) -> bool:
        return search.identify_as_new(search.space.suggest(FixedTrial(point))) not in started

    return [*interrupted, *filter(starts_first, search.space.first_trials)]


def _ended_entry(record: TrialRecord, search: DatasetSearch) -> dict[str, Any]:
    line = _trial_entry(record.trial_id, replay(search.space, record.config), STATES[record.status])
    return line | {
        "value": final_value(record, search.objective),
        "intermediate_values": intermediate_values(record, search.objective),
        "datetime_start": _now(),
        "datetime_complete": _now(),
    }


def _trial_entry(trial_id: str, parameters: Parameters, state: TrialState) -> dict[str, Any]:
    values, distributions = parameters
    return _entry(
        JournalOperation.CREATE_TRIAL,
        study_id=0,
        state=state,
        params={name: distributions[name].to_internal_repr(value) for name, value in values.items()},
        distributions={name: distribution_to_json(distribution) for name, distribution in distributions.items()},
        user_attrs={"trial_id": trial_id},
    )


def _entry(operation: JournalOperation, **fields: Any) -> dict[str, Any]:
    """Build an entry of Optuna's journal; `worker_id` is empty so that any reader accepts it."""
    return {"op_code": operation, "worker_id": "", **fields}


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="microseconds")


def final_value(record: TrialRecord, objective: Objective) -> float | None:
    """Return the value of a trial for Optuna: the best if it completed, the last if it was stopped, else None."""
    match record.status:
        case Status.COMPLETED:
            best = record.best_epoch(objective)
            return None if best is None else float(best[objective.name])
        case Status.STOPPED:
            return float(record.history[-1][objective.name]) if record.history else None
        case _:
            return None


def intermediate_values(record: TrialRecord, objective: Objective) -> dict[int, float]:
    """Return the value of each epoch of a trial."""
    return {int(epoch["epoch"]): float(epoch[objective.name]) for epoch in record.history}
