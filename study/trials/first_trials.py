"""First trials that a user asks for: those of `--try`, then the best of another study (`--warm-start`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from search_spaces import SearchSpace
from study.config.dataset_plan import DatasetPlan
from study.config.identity import has_params
from study.config.search_space import why_outside
from study.config.space_description import number_first_trials, parameters_of
from study.config.study_config import StudyConfig
from study.config.study_file import read_study
from study.config.try_file import OF_THE_STUDY, Given, fit, fit_exactly, read_try_file
from study.storage.files import exists
from study.storage.location import absolute
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialRecord, read_ledger

WIDTH = 110
"""Number of characters after which a line names no further parameters."""

NUM_WARM = 3
"""Number of completed trials that a warm start takes from each dataset of the other study."""


@dataclass(frozen=True, kw_only=True)
class FirstTrials:
    """The first trials that a user asked for, on one dataset.

    Attributes:
        trials: The entries of study.json: `source`, and the `config` without the keys that the study sets.
        notes: Lines about values that were changed, and trials that were left out.
        space: The search space, whose first trials `lines` compares with.
    """

    trials: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    notes: list[str] = field(default_factory=list[str])
    space: SearchSpace | None = None

    def lines(self) -> list[str]:
        """Return lines that describe the trials and what was changed."""
        return [_describe(trial, self.space) for trial in self.trials] + self.notes


def _describe(trial: Mapping[str, Any], space: SearchSpace | None) -> str:
    """Return a line with the source of a trial and its differences from the most similar first trial of the space."""
    config: dict[str, Scalar] = trial["config"]
    known: dict[str, Mapping[str, Scalar]] = {"": {}}
    if space is not None:
        known = {f"first trial {number}": first for number, first in number_first_trials(space).items()} | known
        config = {key: value for key, value in config.items() if key in parameters_of(space.suggest)}
    changes = {
        name: [f"{key} {_short(value)}" for key, value in config.items() if first.get(key) != value]
        for name, first in known.items()
    }
    name = min(changes, key=lambda name: len(changes[name]))
    line = f"tried first: {trial['source']}: {name}{', but ' if name and changes[name] else ''}"
    room, shown = max(WIDTH - len(line), WIDTH // 2), len(changes[name])
    while shown > 1 and len(", ".join(changes[name][:shown])) > room:
        shown -= 1
    more = len(changes[name]) - shown
    return line + ", ".join(changes[name][:shown]) + (f" and {more} more" if more else "")


def _short(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def choose_first_trials(config: StudyConfig, earlier: dict[str, Any] | None) -> dict[str, FirstTrials]:
    """Return the first trials of each dataset: those of earlier runs, then those of --try, then of --warm-start.

    Args:
        config: The study.
        earlier: The study.json of an earlier run, None for a new study.

    Raises:
        UserError: If the file or the other study is unusable, or more trials are given than the study has left.
    """
    tries = [] if config.try_file is None else read_try_file(config.try_file)
    warm = {plan.dataset: _read_best(config, plan) for plan in config.plans}
    chosen: dict[str, FirstTrials] = {}
    for plan in config.plans:
        entry = {} if earlier is None else earlier["datasets"].get(plan.dataset, {})
        records = [] if earlier is None else read_ledger(config.results.dataset(plan.dataset).trials, best=False)
        of_dataset = [
            given for given in tries if given.dataset in ("", plan.dataset) or given.dataset not in config.datasets
        ]
        chosen[plan.dataset] = _choose(plan, entry.get("first_trials", []), of_dataset, warm[plan.dataset], records)
    return chosen


def _choose(
    plan: DatasetPlan,
    recorded: Sequence[dict[str, Any]],
    tries: Sequence[Given],
    warm: Sequence[Given],
    records: Sequence[TrialRecord],
) -> FirstTrials:
    trials, notes = list[dict[str, Any]](), list[str]()
    for trial in recorded:
        if reason := why_outside(plan.space, trial["config"]):  # a study without trials may take a new space
            notes.append(f"{trial['source']}: left out, since it is not in the new search space: {reason}")
        else:
            trials.append(trial)
    known = [trial["config"] for trial in trials]
    waiting = sum(find_trial(config, records) is None for config in known)
    left = plan.num_trials - len(records)
    before = waiting
    for given in tries:
        config = fit_exactly(given, plan.space, plan.dataset)
        if config not in known and find_trial(config, records) is None:
            known.append(config)
            trials.append({"source": given.source, "config": config})
            waiting += 1
    if waiting > max(left, before):
        raise UserError(
            f"--try: {plan.dataset} has {max(left, 0)} of --num-trials {plan.num_trials} left, but "
            f"{counted(waiting, 'trial')} {'is' if waiting == 1 else 'are'} given; give --num-trials "
            f"{len(records) + waiting} or more."
        )
    for given in warm:
        if (encoder := given.values.get("encoder")) not in plan.space.encoders:
            notes.append(f"{given.source}: left out, since encoder {encoder} is not searched on {plan.dataset}")
            continue
        config, changes = fit(given.values, plan.space)
        if config in known or find_trial(config, records) is not None:
            continue
        if waiting >= left:
            notes.append(f"{given.source}: left out, since no more of --num-trials {plan.num_trials} are left")
            continue
        known.append(config)
        trials.append({"source": given.source, "config": config})
        notes += [f"{given.source}: {change}; changed to fit" for change in changes]
        waiting += 1
    return FirstTrials(trials=trials, notes=notes, space=plan.space)


def find_trial(config: Mapping[str, Scalar], records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the trial of a configuration without the keys that the study sets; None if it has not started."""
    for record in records:
        if has_params(record.config, config):
            return record
    return None


def _read_best(config: StudyConfig, plan: DatasetPlan) -> list[Given]:
    """Return the best completed trials of the other study, on this dataset or else on each of its datasets."""
    other = config.warm_start
    if other is None:
        return []
    results = StudyPaths(other)
    if absolute(results.root) == absolute(config.results.root):
        raise UserError(f"--warm-start {other}: must be another study, got this study's folder.")
    if not exists(results.study):
        raise UserError(f"--warm-start {other}: holds no study.json; give the folder of a study, such as results/demo.")
    datasets = read_study(results.study)["datasets"]
    names = [plan.dataset] if plan.dataset in datasets else list(datasets)
    best: list[Given] = []
    for name in names:
        objective = Objective(**datasets[name]["objective"])
        completed = [
            (objective.signed(float(epoch[objective.name])), record)
            for record in read_ledger(results.dataset(name).trials, best=False)
            if record.status is Status.COMPLETED and (epoch := record.best_epoch(objective)) is not None
        ]
        for _, record in sorted(completed, key=lambda scored: -scored[0])[:NUM_WARM]:
            values = {key: value for key, value in record.config.items() if key not in OF_THE_STUDY}
            best.append(Given(f"--warm-start {other}, {name} trial {record.trial_id}", values))
    if not best:
        raise UserError(f"--warm-start {other}: has no completed trial yet; leave the flag out, or wait for one.")
    return best
