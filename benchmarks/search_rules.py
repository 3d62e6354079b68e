"""Does the search find its winner by skill or luck? Compares three rules over several study seeds.

tpe: a study with default flags. random: the same with `--sampler random`. top_3: all trials of the random study train
for one epoch, the best three to the end. For each rule and seed it measures the winner's accuracy on val, its accuracy
on test after training on train + val with one seed, and the epochs and hours of training and evaluation. Studies that
exist in --output are resumed, so the command may be interrupted and run again:

    .venv/bin/python benchmarks/search_rules.py --data-root DATA --backbone mobilenet_v2 --weights FILE --output FOLDER
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pan_model.backbones.config import FeaturesConfig
from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer
from study.config.study_config import DEFAULT_CACHE
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialRecord, best_completed, read_ledger
from study.trials.preparation import Preparation, prepare_dataset

ROOT = Path(__file__).parents[1]
METRIC = FewShotTask.objective.name
TOP = 3


class Outcome(NamedTuple):
    """Result of a rule with one study seed."""

    val: float
    test: float
    epochs: int
    hours: float


class Winner(NamedTuple):
    """A configuration, its best value on val and the epoch of that value."""

    config: TrialConfig
    value: float
    epoch: int


def run_study(arguments: argparse.Namespace, sampler: str, seed: int) -> list[TrialRecord]:
    """Run or resume a study and return its trials."""
    arguments_of_study = ["--dataset", "cub", "--data-root", arguments.data_root, "--backbone", arguments.backbone]
    arguments_of_study += [
        "--weights",
        arguments.weights,
        "--num-trials",
        arguments.num_trials,
        "--seed",
        seed,
        "--resume",
    ]
    arguments_of_study += ["--sampler", sampler, "--output", arguments.output, "--name", f"{sampler}-{seed}"]
    subprocess.run(
        [sys.executable, ROOT / "study" / "run.py", *map(str, arguments_of_study)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return read_ledger(StudyPaths(arguments.output / f"{sampler}-{seed}").dataset("cub").trials)


def best_of_study(records: list[TrialRecord]) -> tuple[Winner, int, float]:
    """Return the study's winner, and the epochs and seconds of all trials."""
    best = best_completed(records, FewShotTask.objective)
    if best is None:
        raise SystemExit("no trial completed")
    winner = Winner(TrialConfig.from_flat(best[0].config), best[1], best[2])
    return winner, sum(len(record.history) for record in records), sum(record.wall_s for record in records)


def best_of_top(featured: FeaturedItems, records: list[TrialRecord]) -> tuple[Winner, int, float]:
    """Return the winner among the trials that lead after one epoch, and the epochs and seconds to find it."""
    begun = [record for record in records if record.history]
    leaders = sorted(begun, key=lambda record: -record.history[0][METRIC])[:TOP]
    first_s = sum(seconds_of(record, 1) for record in begun)
    ended = [record if record.status is Status.COMPLETED else train_to_end(featured, record) for record in leaders]
    best = best_completed(ended, FewShotTask.objective)
    assert best is not None
    later = sum(len(record.history) - 1 for record in ended)
    later_s = sum(record.wall_s - seconds_of(record, 1) for record in ended)
    return Winner(TrialConfig.from_flat(best[0].config), best[1], best[2]), len(begun) + later, first_s + later_s


def seconds_of(record: TrialRecord, epochs: int) -> float:
    """Return the seconds of a trial's first epochs."""
    return replace(record, history=record.history[:epochs]).wall_s


def train_to_end(featured: FeaturedItems, record: TrialRecord) -> TrialRecord:
    """Train a stopped trial again, to its end."""
    config = TrialConfig.from_flat(record.config)
    trainer = Trainer(FewShotTask(featured, seed=config.train.seed), config, torch.device("cpu"))
    history = list[dict[str, int | float]]()
    best = 0
    while trainer.epoch < config.train.max_epochs and not 0 < config.train.patience <= len(history) - best:
        epoch, val = trainer.train_epoch(), trainer.evaluate(Split.VAL)
        history.append(epoch | val.means() | {"time/evaluate_s": val.time_s})
        best = 1 + int(np.argmax([line[METRIC] for line in history]))
    return replace(record, status=Status.COMPLETED, history=history)


def accuracy_on_test(featured: FeaturedItems, winner: Winner) -> float:
    """Return the accuracy on test after training on train + val for the winner's number of epochs."""
    task = FewShotTask(featured, seed=0, train_on=(Split.TRAIN, Split.VAL))
    trainer = Trainer(task, winner.config, torch.device("cpu"))
    while trainer.epoch < winner.epoch:
        trainer.train_epoch()
    return float(trainer.evaluate(Split.TEST).means()[METRIC])


def spread(values: Sequence[float]) -> str:
    """Format the mean, smallest and largest value."""
    return f"{np.mean(values):.4f} [{min(values):.4f}, {max(values):.4f}]"


def main() -> None:
    """Run the studies and print a row for each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--num-trials", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as in a trial
    features = FeaturesConfig(backbone=arguments.backbone, weights=arguments.weights, image_size=224)
    preparation = Preparation(dataset="cub", data_root=arguments.data_root, cache_dir=DEFAULT_CACHE, features=features)
    featured = prepare_dataset(preparation).featured
    outcomes: dict[str, list[Outcome]] = {"tpe": [], "random": [], f"top_{TOP}": []}
    for seed in range(arguments.seeds):
        records = {sampler: run_study(arguments, sampler, seed) for sampler in ("tpe", "random")}
        rules = (
            ("tpe", best_of_study(records["tpe"])),
            ("random", best_of_study(records["random"])),
            (f"top_{TOP}", best_of_top(featured, records["random"])),
        )
        for name, (winner, epochs, spent_s) in rules:
            outcome = Outcome(winner.value, accuracy_on_test(featured, winner), epochs, spent_s / 3600)
            outcomes[name].append(outcome)
            print(f"seed {seed} {name}: {outcome}", file=sys.stderr, flush=True)
    print("| rule | winner on val | winner on test | epochs | hours of one slot |")
    print("| --- | --- | --- | --- | --- |")
    for name, of_rule in outcomes.items():
        columns = list(zip(*of_rule, strict=True))
        cells = (
            name,
            spread(columns[0]),
            spread(columns[1]),
            f"{np.mean(columns[2]):.0f}",
            f"{np.mean(columns[3]):.2f}",
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
