"""Optuna's journal, written from the ledger: what was tried, how it ended, and what comes next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation  # the numbers that stand in the file
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from pan_model.files import atomic_write
from pan_model.flat import Scalar
from pan_model.objective import Objective
from search_spaces import SearchSpace
from study.config.choices import Sampler
from study.config.search_space import Parameters, replay
from study.trials.ledger import Status, TrialRecord
from study.tuning.sampler_memory import NUMBER, SamplerMemory, choose

STATES = {Status.COMPLETED: TrialState.COMPLETE, Status.STOPPED: TrialState.PRUNED, Status.FAILED: TrialState.FAIL}
"""How Optuna calls the ends of a trial; a running one has no end."""

DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}


@dataclass(frozen=True, kw_only=True)
class JournaledSearch:
    """A search as Optuna knows it: its name, its space, and what it optimises."""

    name: str
    space: SearchSpace
    objective: Objective


LINES_AT_ONCE = 1000
"""How many trials are written to the disk together when a journal is written anew."""


class Journal:
    """The journal of a search that runs: a line when a trial begins, one for each epoch and one for its end.

    It is for people to watch; the sampler has its own memory. A trial begins with one line: as Optuna writes it, every
    parameter would be a line, a lock and a wait for the disk.
    """

    def __init__(self, path: Path, records: Sequence[TrialRecord], search: JournaledSearch) -> None:
        write_journal(path, records, search)
        self._file = JournalFileBackend(str(path))
        self._num_trials = sum(record.status is not Status.RUNNING for record in records)

    def begin(self, trial_id: str, parameters: Parameters) -> int:
        """Write down a trial that begins; gives its number in the journal."""
        self._append(_trial_line(trial_id, parameters, TrialState.RUNNING) | {"datetime_start": _now()})
        self._num_trials += 1
        return self._num_trials - 1

    def report(self, number: int, epoch: int, value: float) -> None:
        """Write down an epoch of a trial."""
        self._append(
            _line(JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE, trial_id=number, step=epoch, intermediate_value=value)
        )

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Write down how a trial ended."""
        values = None if value is None else [value]
        operation = JournalOperation.SET_TRIAL_STATE_VALUES
        self._append(_line(operation, trial_id=number, state=state, values=values, datetime_complete=_now()))

    def _append(self, line: dict[str, Any]) -> None:
        self._file.append_logs([line])


def write_journal(path: Path, records: Sequence[TrialRecord], search: JournaledSearch) -> None:
    """Write the journal anew with the ledger's finished trials; the file is replaced when the new one is whole.

    Locks that a killed process left are taken away: a study has one driver at a time.
    """
    for leftover in (*path.parent.glob(f"{path.name}.lock*"), *path.parent.glob(f".{path.name}*")):
        leftover.unlink(missing_ok=True)
    directions = [DIRECTIONS[search.objective.mode]]
    ended = [record for record in records if record.status is not Status.RUNNING]
    with atomic_write(path) as temporary:
        file = JournalFileBackend(str(temporary))
        file.append_logs([_line(JournalOperation.CREATE_STUDY, study_name=search.name, directions=directions)])
        for first in range(0, len(ended), LINES_AT_ONCE):
            file.append_logs([_ended_line(record, search) for record in ended[first : first + LINES_AT_ONCE]])


def correct_journal(path: Path, records: Sequence[TrialRecord], search: JournaledSearch) -> None:
    """Write the journal anew when it says more than the ledger: trials that were cut, repeated or never begun."""
    said = _states_said(path)
    ended = {record.trial_id: STATES[record.status] for record in records if record.status is not Status.RUNNING}
    if len(said) != len(ended) or dict(said) != ended:
        write_journal(path, records, search)


def _states_said(path: Path) -> list[tuple[str | None, TrialState]]:
    """Every trial of a journal in short: its name, if it has one, and its state."""
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


def remember(records: Sequence[TrialRecord], search: JournaledSearch) -> SamplerMemory:
    """What a sampler knows of the ledger's finished trials, under the search's name."""
    memory, direction = SamplerMemory(), DIRECTIONS[search.objective.mode]
    study = optuna.create_study(storage=memory, study_name=search.name, direction=direction)
    learned = [record for record in records if record.status in (Status.COMPLETED, Status.STOPPED)]
    ends = {number: _frozen(record, search, Parameters({}, {})) for number, record in enumerate(learned)}
    for number in sorted(choose(ends, direction)):
        study.add_trial(_frozen(learned[number], search, replay(search.space, learned[number].config)))
    return memory


def make_sampler(kind: Sampler, seed: int, num_tried: int) -> BaseSampler:
    """Make the sampler; after `num_tried` trials it draws other numbers than it drew at first."""
    drawn = int(np.random.SeedSequence([seed, num_tried]).generate_state(1)[0])
    return TPESampler(seed=drawn) if kind is Sampler.TPE else RandomSampler(seed=drawn)


def points_to_try(
    records: list[TrialRecord], space: SearchSpace, identify: Callable[[dict[str, Scalar]], str]
) -> list[dict[str, Scalar]]:
    """What is tried before the sampler is asked: trials that were cut, then first trials that were never begun."""
    cut = [replay(space, record.config)[0] for record in records if record.status is Status.RUNNING]
    begun = {record.trial_id for record in records}
    first = [point for point in space.first_trials if identify(space.suggest(FixedTrial(point))) not in begun]
    return [*cut, *first]


def _frozen(record: TrialRecord, search: JournaledSearch, parameters: Parameters) -> FrozenTrial:
    return create_trial(
        state=STATES[record.status],
        value=final_value(record, search),
        params=parameters.values,
        distributions=parameters.distributions,
        intermediate_values=_intermediate_values(record, search),
        user_attrs={NUMBER: record.number},
    )


def _ended_line(record: TrialRecord, search: JournaledSearch) -> dict[str, Any]:
    line = _trial_line(record.trial_id, replay(search.space, record.config), STATES[record.status])
    return line | {
        "value": final_value(record, search),
        "intermediate_values": _intermediate_values(record, search),
        "datetime_start": _now(),
        "datetime_complete": _now(),
    }


def _intermediate_values(record: TrialRecord, search: JournaledSearch) -> dict[int, float]:
    return {int(epoch["epoch"]): float(epoch[search.objective.name]) for epoch in record.history}


def _trial_line(trial_id: str, parameters: Parameters, state: TrialState) -> dict[str, Any]:
    values, distributions = parameters
    return _line(
        JournalOperation.CREATE_TRIAL,
        study_id=0,
        state=state,
        params={name: distributions[name].to_internal_repr(value) for name, value in values.items()},
        distributions={name: distribution_to_json(distribution) for name, distribution in distributions.items()},
        user_attrs={"trial_id": trial_id},
    )


def _line(operation: JournalOperation, **fields: Any) -> dict[str, Any]:
    """A line as Optuna's journal has it; it is nobody's own, so that a reader may take it up whoever wrote it."""
    return {"op_code": operation, "worker_id": "", **fields}


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="microseconds")


def final_value(record: TrialRecord, search: JournaledSearch) -> float | None:
    """What Optuna is told: a completed trial's best value, a stopped one's last (as Optuna prunes), else none."""
    match record.status:
        case Status.COMPLETED:
            best = record.best_epoch(search.objective)
            return None if best is None else float(best[search.objective.name])
        case Status.STOPPED:
            return float(record.history[-1][search.objective.name]) if record.history else None
        case _:
            return None
