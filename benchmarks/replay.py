"""What would each stopping rule have saved and lost? Replays finished studies that ran with --scheduler none.

The trials of such a study have complete histories, with the score of every validation question after each epoch. The
rules see them one after another in many random orders, as `--executor serial` would run them. Printed for each rule:
the epochs saved, the value lost (the best trial's less the winner's under the rule, which is the best completed trial)
with its 95% interval over the orders, and in how many orders the best trial was stopped. Then the rank correlation of
the value at an epoch with the best value, over the trials that ran beyond it, with its 95% interval.

    python study/run.py --dataset cub --scheduler none --sampler random --executor serial --name full
    python benchmarks/replay.py results/full

Orders are samples of the same trials, so that their intervals say nothing about other studies: replay several.
"""

import argparse
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ray.tune.schedulers import ASHAScheduler

from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import Interval, mean_interval
from search_spaces import SPACES
from study.analysis.uncertainty import spearman
from study.storage.files import read_json
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialLedger, TrialRecord, read_ledger
from study.trials.paper_setting import is_setting
from study.tuning.serial_executor import SerialTrial
from study.tuning.stopping.paired import PairedRule
from study.tuning.stopping.rule import StoppingRule
from study.tuning.stopping.top_k import TopKRule, comparable_k

REDUCTION_FACTOR = 3.0
RUNGS = (1, 2, 3, 5, 7, 10, 15, 20, 30)
"""Epochs whose rank correlation is printed."""


@dataclass(frozen=True, kw_only=True)
class RecordedStudy:
    """A dataset of a finished study whose trials all ran to their own end.

    Attributes:
        name: The name of the study, and its dataset.
        objective: The metric that trials are compared by.
        max_epochs: The last epoch of a trial.
        trials: The completed trials.
        scores: The score of each validation question, by trial and epoch.
        paper_setting: The configuration that no rule stops.
    """

    name: str
    objective: Objective
    max_epochs: int
    trials: Sequence[TrialRecord]
    scores: Mapping[tuple[str, int], Sequence[float]]
    paper_setting: Mapping[str, Scalar]

    def best_value(self, trial: TrialRecord) -> float:
        """Return the signed value of a trial's best epoch."""
        return max(self.values(trial))

    def values(self, trial: TrialRecord) -> list[float]:
        """Return the signed value of each epoch of a trial."""
        return [self.objective.signed(float(epoch[self.objective.name])) for epoch in trial.history]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a rule did in one order: the epochs run, the value lost, and whether the best trial was stopped."""

    epochs: int
    lost: float
    stopped_best: bool


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a rule did over all orders.

    Attributes:
        study: The study and the dataset.
        rule: The rule.
        epochs: The mean number of epochs.
        saved: The mean share of the epochs that the rule saved.
        lost: The mean value lost.
        lost_ci95: Its 95% interval over the orders.
        stopped_best: The share of the orders in which the best trial was stopped.
        num_orders: The number of orders.
        num_trials: The number of trials.
    """

    study: str
    rule: str
    epochs: float
    saved: float
    lost: float
    lost_ci95: tuple[float, float]
    stopped_best: float
    num_orders: int
    num_trials: int


class NoStopping:
    """Stop no trial."""

    def add(self, record: TrialRecord) -> None:
        """Do nothing."""

    def stops(self, trial_id: str, config: Mapping[str, Scalar], epoch: int, value: float) -> bool:
        """Return False."""
        return False


class AshaRule:
    """Tune's ASHA as a rule.

    Args:
        objective: The metric that trials are compared by.
        max_epochs: The last epoch of a trial.
        grace_epochs: The first rung.
    """

    def __init__(self, objective: Objective, max_epochs: int, grace_epochs: int) -> None:
        self._objective = objective
        self._asha = ASHAScheduler(
            "epoch",
            objective.name,
            objective.mode,
            max_t=max_epochs,
            grace_period=grace_epochs,
            reduction_factor=REDUCTION_FACTOR,
        )
        self._trials: dict[str, Any] = {}

    def add(self, record: TrialRecord) -> None:
        """Put the last epoch of a completed trial on its rungs."""
        self._asha.on_trial_complete(None, self._trial(record.trial_id), dict(record.history[-1]))  # pyright: ignore[reportArgumentType]

    def stops(self, trial_id: str, config: Mapping[str, Scalar], epoch: int, value: float) -> bool:
        """Return whether ASHA stops a trial after an epoch."""
        result = {"epoch": epoch, self._objective.name: value}
        return self._asha.on_trial_result(None, self._trial(trial_id), result) == ASHAScheduler.STOP  # pyright: ignore[reportArgumentType]

    def _trial(self, trial_id: str) -> Any:
        if trial_id not in self._trials:
            self._trials[trial_id] = SerialTrial(trial_id, {})
            self._asha.on_trial_add(None, self._trials[trial_id])  # pyright: ignore[reportArgumentType]
        return self._trials[trial_id]


def rules_of(study: RecordedStudy) -> dict[str, Callable[[], StoppingRule]]:
    """Return what makes each rule for a study, by name."""
    objective, max_epochs = study.objective, study.max_epochs
    third = math.ceil(max_epochs / 3)
    k = comparable_k(len(study.trials), max_epochs, 1, REDUCTION_FACTOR)
    return {
        "none": NoStopping,
        f"asha, grace {third}": lambda: AshaRule(objective, max_epochs, third),
        "asha, grace 1": lambda: AshaRule(objective, max_epochs, 1),
        f"top-k, K = {k}": lambda: TopKRule(objective, k),
        "paired": lambda: PairedRule(objective, lambda trial_id, epoch: study.scores.get((trial_id, epoch))),
    }


def read_studies(folder: Path) -> list[RecordedStudy]:
    """Read the datasets of a finished study.

    Raises:
        UserError: If the study stopped trials early, or has trials without scores of questions.
    """
    paths = StudyPaths(folder)
    content = read_json(paths.study, "give the folder of a finished study")
    if (scheduler := content["config"].get("scheduler")) != "none":
        raise UserError(f"{paths.study}: must be a study with --scheduler none, got {scheduler}; run one.")
    return [_read_dataset(paths, dataset, entry) for dataset, entry in content["datasets"].items()]


def _read_dataset(paths: StudyPaths, dataset: str, entry: Mapping[str, Any]) -> RecordedStudy:
    trials = paths.dataset(dataset).trials
    completed = [record for record in read_ledger(trials, best=False) if record.status is Status.COMPLETED]
    scores: dict[tuple[str, int], list[float]] = {}
    for record in completed:
        of_trial = TrialLedger(trials / record.trial_id).question_scores()
        if missing := {int(epoch["epoch"]) for epoch in record.history} - of_trial.keys():
            lacking = f"must have the scores of questions of each epoch, lacks those of epoch {min(missing)}"
            raise UserError(f"{trials / record.trial_id}: {lacking}; run the study anew.")
        scores |= {(record.trial_id, epoch): of_epoch for epoch, of_epoch in of_trial.items()}
    if len(completed) < 2:
        raise UserError(f"{trials}: must have at least 2 completed trials, got {len(completed)}; resume the study.")
    return RecordedStudy(
        name=f"{paths.root.name}, {dataset}",
        objective=Objective(**entry["objective"]),
        max_epochs=int(entry["max_epochs"]),
        trials=completed,
        scores=scores,
        paper_setting=SPACES[dataset].paper_setting,
    )


def replay(study: RecordedStudy, rule: StoppingRule, order: Sequence[TrialRecord]) -> Outcome:
    """Run the trials one after another under a rule."""
    best, epochs, completed = max(study.trials, key=study.best_value), 0, list[TrialRecord]()
    stopped_best = False
    for trial in order:
        protected, stopped = is_setting(trial.config, study.paper_setting), False
        for epoch in trial.history:
            epochs += 1
            if epoch is trial.history[-1]:
                break
            value = float(epoch[study.objective.name])
            if rule.stops(trial.trial_id, trial.config, int(epoch["epoch"]), value) and not protected:
                stopped = True
                break
        if not stopped:
            completed.append(trial)
            rule.add(trial)
        stopped_best |= stopped and trial is best
    winner = max((study.best_value(trial) for trial in completed), default=-np.inf)
    return Outcome(epochs=epochs, lost=study.best_value(best) - float(winner), stopped_best=stopped_best)


def summarise(study: RecordedStudy, name: str, outcomes: Sequence[Outcome]) -> Summary:
    """Return the means over the orders."""
    in_all = sum(len(trial.history) for trial in study.trials)
    epochs = float(np.mean([outcome.epochs for outcome in outcomes]))
    lost = mean_interval(np.array([outcome.lost for outcome in outcomes]))
    return Summary(
        study=study.name,
        rule=name,
        epochs=epochs,
        saved=1 - epochs / in_all,
        lost=lost.mean,
        lost_ci95=(lost.low, lost.high),
        stopped_best=float(np.mean([outcome.stopped_best for outcome in outcomes])),
        num_orders=len(outcomes),
        num_trials=len(study.trials),
    )


def rank_correlations(study: RecordedStudy) -> dict[int, tuple[int, Interval | None]]:
    """Return, by epoch, the number of trials that ran beyond it and the correlation of its value with their best."""
    correlations: dict[int, tuple[int, Interval | None]] = {}
    for epoch in RUNGS:
        beyond = [study.values(trial) for trial in study.trials if len(trial.history) > epoch]
        if epoch < study.max_epochs and beyond:
            at_rung, best = [values[epoch - 1] for values in beyond], [max(values) for values in beyond]
            correlations[epoch] = len(beyond), spearman(at_rung, best)
    return correlations


def print_study(study: RecordedStudy, summaries: Sequence[Summary]) -> None:
    """Print the two tables of a study."""
    first = summaries[0]
    print(f"{study.name}: {counted(first.num_trials, 'trial')}, {counted(first.num_orders, 'random order')}")
    print(f"  {'rule':<18} {'epochs':>7} {'saved':>6}  {'value lost':<26} best trial stopped")
    for row in summaries:
        lost = Interval(row.lost, *row.lost_ci95)
        print(f"  {row.rule:<18} {row.epochs:>7.0f} {row.saved:>6.0%}  {lost!s:<26} {row.stopped_best:.0%}")
    print("  rank correlation of the value at an epoch with the best value")
    for epoch, (count, interval) in rank_correlations(study).items():
        shown = "too few trials" if interval is None else str(interval)
        print(f"  epoch {epoch:>2}: {shown} over {counted(count, 'trial')}")


def main() -> None:
    """Replay the studies that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, metavar="results/NAME", help="folders of finished studies")
    parser.add_argument("--orders", type=int, default=50, metavar="N", help="random orders of the trials (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the orders (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print nothing but a list of rows")
    arguments = parser.parse_args()
    if arguments.orders < 1:
        parser.error(f"--orders must be at least 1, got {arguments.orders}.")
    rows: list[Summary] = []
    try:
        studies = [study for folder in arguments.studies for study in read_studies(folder)]
    except UserError as error:
        parser.error(str(error))
    for study in studies:
        generator = random.Random(arguments.seed)
        orders = [generator.sample(study.trials, len(study.trials)) for _ in range(arguments.orders)]
        of_study = [
            summarise(study, name, [replay(study, make(), order) for order in orders])
            for name, make in rules_of(study).items()
        ]
        if not arguments.json:
            print_study(study, of_study)
        rows += of_study
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
