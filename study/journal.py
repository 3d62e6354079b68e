"""Optuna's journal, written from the ledger: what was tried, how it ended, and what comes next."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from pan_model.flat import Scalar
from search_spaces import SearchSpace
from study.config import Sampler
from study.ledger import Status, TrialRecord

STATES = {Status.COMPLETED: TrialState.COMPLETE, Status.STOPPED: TrialState.PRUNED, Status.FAILED: TrialState.FAIL}
"""How Optuna calls the ends of a trial; a running one has no end."""

DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}


@dataclass(frozen=True, kw_only=True)
class JournaledSearch:
    """A search as Optuna knows it: its name, its space, and what it optimises which way."""

    name: str
    space: SearchSpace
    metric: str
    mode: Literal["max", "min"]


def write_journal(path: Path, records: list[TrialRecord], search: JournaledSearch) -> JournalStorage:
    """Write the journal anew with the ledger's finished trials; the file is replaced when the new one is whole.

    Locks that a killed process left are taken away: a study has one driver at a time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    for leftover in (temporary, *path.parent.glob(f"{path.name}.lock*"), *path.parent.glob(f".{path.name}.lock*")):
        leftover.unlink(missing_ok=True)
    storage = JournalStorage(JournalFileBackend(str(temporary)))
    study = optuna.create_study(storage=storage, study_name=search.name, direction=DIRECTIONS[search.mode])
    for record in records:
        if record.status is not Status.RUNNING:
            study.add_trial(_frozen(record, search))
    temporary.replace(path)
    return JournalStorage(JournalFileBackend(str(path)))


def correct_journal(path: Path, records: list[TrialRecord], search: JournaledSearch) -> None:
    """Write the journal anew when it says more than the ledger: trials that were cut, repeated or never begun."""
    study = optuna.load_study(storage=JournalStorage(JournalFileBackend(str(path))), study_name=search.name)
    said = [(trial.user_attrs.get("trial_id"), trial.state) for trial in study.get_trials(deepcopy=False)]
    ended = {record.trial_id: STATES[record.status] for record in records if record.status is not Status.RUNNING}
    if len(said) != len(ended) or dict(said) != ended:
        write_journal(path, records, search)


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


def replay(
    space: SearchSpace, config: dict[str, Scalar]
) -> tuple[dict[str, Scalar], dict[str, optuna.distributions.BaseDistribution]]:
    """The parameters that the space would ask for, and their distributions, when each answer is the configuration's."""
    trial = FixedTrial(config)
    space.suggest(trial)
    return trial.params, trial.distributions


def _frozen(record: TrialRecord, search: JournaledSearch) -> FrozenTrial:
    parameters, distributions = replay(search.space, record.config)
    state = STATES[record.status]
    return create_trial(
        state=state,
        value=final_value(record, search),
        params=parameters,
        distributions=distributions,
        intermediate_values={int(epoch["epoch"]): float(epoch[search.metric]) for epoch in record.history},
        user_attrs={"trial_id": record.trial_id},
    )


def final_value(record: TrialRecord, search: JournaledSearch) -> float | None:
    """What Optuna is told: a completed trial's best value, a stopped one's last (as Optuna prunes), else none."""
    match record.status:
        case Status.COMPLETED:
            best = record.best_epoch(search.metric, search.mode)
            return None if best is None else float(best[search.metric])
        case Status.STOPPED:
            return float(record.history[-1][search.metric]) if record.history else None
        case _:
            return None
