"""What the arms of a study of studies found at equal epochs, at equal seconds and as run, and the tables of it.

Everything is read from files: the ledgers of the studies, and the values of the judged configurations.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from seed_intervals import Interval, interval_of, markdown, paired
from study_cuts import Found, Spent, Unit, best_first_of, cut, found_in, spent_by, winner_of

from pan_model.flat import Scalar
from pan_model.objective import Objective
from study.config.study_file import read_study
from study.storage.files import read_json
from study.storage.paths import StudyPaths
from study.trials.ledger import TrialRecord, read_ledger

VAL_SEEDS = (1_000_001, 1_000_002, 1_000_003)
TEST_SEEDS = (0, 1)
"""Seeds of the trainings that judge a configuration, on val and on test."""

QUESTION_SEED = 2_000_003
"""The seed of the fresh val and of the questions on test."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The values of a configuration: the mean of the objective over all questions, for each training seed."""

    val: list[float]
    test: list[float]

    @property
    def val_mean(self) -> float:
        """The value on fresh questions of val, the mean over the training seeds."""
        return float(np.mean(self.val))

    @property
    def test_mean(self) -> float:
        """The value on test, the mean over the training seeds."""
        return float(np.mean(self.test))


class Cut(StrEnum):
    """The points at which arms are compared."""

    EPOCHS = "at equal epochs"
    SECONDS = "at equal seconds"
    RUN = "as run"


UNITS = {Cut.EPOCHS: Unit.EPOCHS, Cut.SECONDS: Unit.SECONDS}


@dataclass(frozen=True, kw_only=True)
class FinishedStudy:
    """A study that has ended.

    Attributes:
        arm: Its arm.
        seed: Its seed.
        objective: The metric and its direction.
        data: The data and the features, as in study.json, and the task if one was chosen.
        first_trials: The configurations of the first trials.
        records: The trials.
        best: The content of best_config.json.
        confirming: The work of the confirmation, if the study has one.
    """

    arm: str
    seed: int
    objective: Objective
    data: dict[str, Any]
    first_trials: list[Mapping[str, Scalar]]
    records: list[TrialRecord]
    best: dict[str, Any]
    confirming: Spent

    @property
    def spent(self) -> Spent:
        """The work of the whole study."""
        return spent_by(self.records) + self.confirming


def read_finished(folder: Path, dataset: str, arm: str, seed: int) -> FinishedStudy:
    """Read a study that has ended."""
    paths = StudyPaths(folder)
    study, of_dataset = read_study(paths.study), paths.dataset(dataset)
    entry = study["datasets"][dataset]
    given = [trial["config"] for trial in entry.get("first_trials", [])]
    return FinishedStudy(
        arm=arm,
        seed=seed,
        objective=Objective(**entry["objective"]),
        data={"fingerprint": entry["data"]["fingerprint"], "features": entry["features"]}
        | ({"task": task} if (task := study["config"]["task"]) else {}),
        first_trials=[*given, *entry["space"]["first_trials"]],
        records=read_ledger(of_dataset.trials, best=False),
        best=read_json(of_dataset.best_config, "run the study again"),
        confirming=spent_by(read_ledger(of_dataset.confirmation, best=False)),
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a study had found at a cut.

    Attributes:
        arm: The arm of the study.
        seed: The seed of the study.
        cut: The point of the comparison.
        winner: The configuration that the study preferred.
        first: The best of its first trials.
        spent: The work until then.
        confirmed: The winner's value at its confirmation; None without one.
    """

    arm: str
    seed: int
    cut: Cut
    winner: Found
    first: Found | None
    spent: Spent
    confirmed: float | None = None


def outcomes_of(studies: Sequence[FinishedStudy], at: Mapping[Unit, float]) -> list[Outcome]:
    """Return the outcomes of all arms with one seed.

    Args:
        studies: The study of each arm.
        at: The epochs or the seconds at which studies are cut. By default it is what the cheapest of the searches took.
            A study that took less counts as a whole.
    """
    outcomes: list[Outcome] = []
    for where, unit in UNITS.items():
        most = at.get(unit, min(spent_by(study.records).of(unit) for study in studies))
        outcomes += [_outcome(study, where, cut(study.records, unit, most)) for study in studies]
    return outcomes + [_as_run(study) for study in studies]


def _outcome(study: FinishedStudy, where: Cut, records: list[TrialRecord]) -> Outcome:
    winner = winner_of(records, study.objective, study.first_trials)
    if winner is None:
        raise SystemExit(f"{study.arm}, seed {study.seed}: no trial has an epoch {where}; cut later.")
    return Outcome(
        arm=study.arm,
        seed=study.seed,
        cut=where,
        winner=winner,
        first=best_first_of(records, study.objective, study.first_trials),
        spent=spent_by(records),
    )


def _as_run(study: FinishedStudy) -> Outcome:
    """Return the outcome of the whole study: best_config.json, which a confirmation may have changed."""
    metric = study.best["metric"]
    (record,) = (record for record in study.records if record.trial_id == study.best["trial_id"])
    return Outcome(
        arm=study.arm,
        seed=study.seed,
        cut=Cut.RUN,
        winner=found_in(record, metric["epoch"], metric["value"], study.first_trials),
        first=best_first_of(study.records, study.objective, study.first_trials),
        spent=study.spent,
        confirmed=study.best.get("confirmation", {}).get("value"),
    )


def judged_file(folder: Path, data: Mapping[str, Any], found: Found) -> Path:
    """Return the file of a configuration's values, named by all that they depend on except the code.

    Args:
        folder: Holds the files of a dataset.
        data: The data, the features, and the task if one was chosen.
        found: The configuration and its epoch; its seed does not count.
    """
    content = {
        "data": dict(data),
        "config": {key: value for key, value in found.config.items() if key != "seed"},
        "epoch": found.epoch,
        "seeds": [VAL_SEEDS, TEST_SEEDS, QUESTION_SEED],
    }
    return folder / f"{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}.json"


def read_judged(file: Path) -> Judged | None:
    """Return the values that a file holds; None if it does not exist."""
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    return Judged(val=content["val"], test=content["test"])


@dataclass(frozen=True, kw_only=True)
class JudgedOutcome:
    """An outcome with the values of its winner and of its best first trial; lower is better with sign -1."""

    outcome: Outcome
    winner: Judged
    first: Judged | None
    sign: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return all values."""
        outcome = asdict(self.outcome)
        outcome["winner"] |= asdict(self.winner)
        if self.first is not None:
            outcome["first"] |= asdict(self.first)
        return outcome


def table(outcomes: Sequence[JudgedOutcome], references: Sequence[str]) -> str:
    """Return the table of one dataset at one cut: a row for each arm, in the order of the outcomes.

    Args:
        outcomes: The outcomes of the arms, with one or several seeds.
        references: The arms that the others are compared with, if they have outcomes.
    """
    of_arm: dict[str, dict[int, JudgedOutcome]] = {}
    for outcome in outcomes:
        of_arm.setdefault(outcome.outcome.arm, {})[outcome.outcome.seed] = outcome
    peers = [name for name in references if name in of_arm]
    heads = ["arm", "val at selection", "val, fresh", *(f"ahead of {name}" for name in peers)]
    heads += ["test", *(f"test, ahead of {name}" for name in peers)]
    heads += ["epochs", "s", "suggested", "ahead of the best first trial", "the same on test"]
    rows: list[list[str]] = []
    for arm, seeds in of_arm.items():
        row = [arm, f"{np.mean([outcome.outcome.winner.value for outcome in seeds.values()]):.4f}"]
        for values in (_val, _test):
            ours = values(seeds)
            row.append(f"{np.mean([*ours.values()]):.4f}")
            row += ["" if arm == name else str(_lead(seeds, ours, values(of_arm[name]))) for name in peers]
        spent = [outcome.outcome.spent for outcome in seeds.values()]
        suggested = sum(outcome.outcome.winner.suggested for outcome in seeds.values())
        row += [f"{np.mean([s.epochs for s in spent]):.0f}", f"{np.mean([s.seconds for s in spent]):.0f}"]
        row += [f"{suggested} of {len(seeds)}", *map(str, _leads_over_first(seeds.values()))]
        rows.append(row)
    return markdown(heads, rows)


def _val(seeds: Mapping[int, JudgedOutcome]) -> dict[int, float]:
    return {seed: outcome.winner.val_mean for seed, outcome in seeds.items()}


def _test(seeds: Mapping[int, JudgedOutcome]) -> dict[int, float]:
    return {seed: outcome.winner.test_mean for seed, outcome in seeds.items()}


def _lead(seeds: Mapping[int, JudgedOutcome], ours: Mapping[int, float], peer: Mapping[int, float]) -> Interval:
    """Return by how much an arm is better than another one, whatever the direction of the objective."""
    sign = next(iter(seeds.values())).sign
    return paired(*({seed: sign * value for seed, value in values.items()} for values in (ours, peer)))


def _leads_over_first(outcomes: Iterable[JudgedOutcome]) -> tuple[Interval, Interval]:
    """Return by how much winners are better than the best first trial of their study, on val and on test."""
    both = [(outcome, outcome.first) for outcome in outcomes if outcome.first is not None]
    return (
        interval_of([outcome.sign * (outcome.winner.val_mean - first.val_mean) for outcome, first in both]),
        interval_of([outcome.sign * (outcome.winner.test_mean - first.test_mean) for outcome, first in both]),
    )
