"""What would each stopping rule have saved and lost? Replays finished studies that ran with --scheduler none.

The trials of such a study have complete histories, with the score of every validation question after each epoch. The
rules see them one after another in many random orders, as `--executor serial` would run them. Printed for each rule:
the epochs saved, the value lost (the best trial's less the winner's under the rule, which is the best completed trial)
with its 95% interval over the orders, and in how many orders the best trial did not win, because it was stopped. Then
the rank correlation of the value at an epoch with the best value, over the trials that ran beyond it, with its 95%
interval.

As in a study, first trials are not stopped. If the best trial is a first trial, nothing can then be lost, which says
little about a rule: with --may-stop-first they are treated like suggested trials.

PASHA (pasha.py) is not a choice of --scheduler: it pauses all trials and resumes some. Its winner is the trial with the
best value in the epochs it ran. The row `pasha` has that value; `pasha, completed` trains the winner to its own end and
has its best value then. `promotion, completed` is the same with all rungs open from the start: ASHA with promotion.

    python study/run.py --dataset cub --scheduler none --sampler random --executor serial --name full
    python benchmarks/replay.py results/full

Orders are samples of the same trials, so that their intervals say nothing about other studies: replay several.
"""

import argparse
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pasha import run_pasha
from ray.tune.schedulers import ASHAScheduler
from recorded_study import RecordedStudy, read_studies

from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import Interval, mean_interval
from study.analysis.uncertainty import spearman
from study.trials.ledger import TrialRecord
from study.tuning.serial_executor import SerialTrial
from study.tuning.stopping.paired import PairedRule
from study.tuning.stopping.rule import StoppingRule
from study.tuning.stopping.top_k import TopKRule, comparable_k

REDUCTION_FACTOR = 3.0
RUNGS = (1, 2, 3, 5, 7, 10, 15, 20, 30)
"""Epochs whose rank correlation is printed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a rule did in one order: the epochs run, the value lost, and whether the best trial did not win."""

    epochs: int
    lost: float
    missed_best: bool


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
        missed_best: The share of the orders in which the best trial did not win.
        num_orders: The number of orders.
        num_trials: The number of trials.
    """

    study: str
    rule: str
    epochs: float
    saved: float
    lost: float
    lost_ci95: tuple[float, float]
    missed_best: float
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


def replays_of(study: RecordedStudy) -> dict[str, Callable[[Sequence[TrialRecord]], Outcome]]:
    """Return what runs the trials of a study in an order, by the name of the rule."""

    def under(make: Callable[[], StoppingRule]) -> Callable[[Sequence[TrialRecord]], Outcome]:
        return lambda order: replay(study, make(), order)

    return {name: under(make) for name, make in rules_of(study).items()} | {
        "promotion, completed": lambda order: replay_pasha(study, order, open_rungs=None, complete_winner=True),
        "pasha": lambda order: replay_pasha(study, order),
        "pasha, completed": lambda order: replay_pasha(study, order, complete_winner=True),
    }


def replay(study: RecordedStudy, rule: StoppingRule, order: Sequence[TrialRecord]) -> Outcome:
    """Run the trials one after another under a rule."""
    best, epochs, completed = max(study.trials, key=study.best_value), 0, list[TrialRecord]()
    missed_best = False
    for trial in order:
        stopped = False
        for epoch in trial.history:
            epochs += 1
            if epoch is trial.history[-1]:
                break
            value = float(epoch[study.objective.name])
            if rule.stops(trial.trial_id, trial.config, int(epoch["epoch"]), value) and study.may_stop(trial):
                stopped = True
                break
        if not stopped:
            completed.append(trial)
            rule.add(trial)
        missed_best |= stopped and trial is best
    winner = max((study.best_value(trial) for trial in completed), default=-np.inf)
    return Outcome(epochs=epochs, lost=study.best_value(best) - float(winner), missed_best=missed_best)


def replay_pasha(
    study: RecordedStudy,
    order: Sequence[TrialRecord],
    *,
    open_rungs: int | None = 2,
    complete_winner: bool = False,
) -> Outcome:
    """Run the trials under PASHA, where first trials are never paused.

    Args:
        study: The study.
        order: The trials in the order in which they start.
        open_rungs: The number of rungs that are open at the start; None opens all.
        complete_winner: Train the winner to its own end, which counts as epochs and in its value.
    """
    curves = [study.values(trial) for trial in order]
    never_paused = [place for place, trial in enumerate(order) if not study.may_stop(trial)]
    run = run_pasha(curves, study.max_epochs, open_rungs=open_rungs, never_paused=never_paused)
    curve, ran = curves[run.winner], run.epochs[run.winner]
    best = max(study.best_value(trial) for trial in study.trials)
    return Outcome(
        epochs=sum(run.epochs) + (len(curve) - ran if complete_winner else 0),
        lost=best - max(curve if complete_winner else curve[:ran]),
        missed_best=max(curve) < best,
    )


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
        missed_best=float(np.mean([outcome.missed_best for outcome in outcomes])),
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
    print(f"  {'rule':<20} {'epochs':>7} {'saved':>6}  {'value lost':<26} best trial missed")
    for row in summaries:
        lost = Interval(row.lost, *row.lost_ci95)
        print(f"  {row.rule:<20} {row.epochs:>7.0f} {row.saved:>6.0%}  {lost!s:<26} {row.missed_best:.0%}")
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
    parser.add_argument("--may-stop-first", action="store_true", help="rules may stop first trials as well")
    parser.add_argument("--json", action="store_true", help="print nothing but a list of rows")
    arguments = parser.parse_args()
    if arguments.orders < 1:
        parser.error(f"--orders must be at least 1, got {arguments.orders}.")
    rows: list[Summary] = []
    try:
        studies = [study for folder in arguments.studies for study in read_studies(folder)]
        if arguments.may_stop_first:
            studies = [replace(study, first_trials=()) for study in studies]
    except UserError as error:
        parser.error(str(error))
    for study in studies:
        generator = random.Random(arguments.seed)
        orders = [generator.sample(study.trials, len(study.trials)) for _ in range(arguments.orders)]
        of_study = [summarise(study, name, [run(order) for order in orders]) for name, run in replays_of(study).items()]
        if not arguments.json:
            print_study(study, of_study)
        rows += of_study
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
