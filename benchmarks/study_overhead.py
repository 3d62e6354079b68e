"""What does a study spend besides training: on its start, on a trial without work, and between trials?

    .venv/bin/python benchmarks/study_overhead.py
    .venv/bin/python benchmarks/study_overhead.py --study "--dataset cub --data-root DATA --weights FILE"

The rows:

- Seconds of a trial without work, of 128, Ray's start aside. Searcher, scheduler, journal and ledger are those of a
  study (`driver.py`); beside it the target, and Ray Tune with OptunaSearch and ASHA, as shipped and with reuse_actors.
- Seconds from the command to the first trial of a study whose features are cached, less those in which Ray starts. The
  study runs once beforehand. Ray starts while data are prepared, so that the whole time is less than the sum.
- Seconds to build a trial in a worker that has run others, beside a worker that keeps nothing: another shrinkage of
  the same features, and the same normalisation.
"""

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Row, alternate, parser, run_benchmark

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer
from pan_model.training.trial_cache import TrialCache

TRIAL_S, START_S = 0.25, 10.0
"""Targets: seconds of a trial without work, and seconds from the command to the first trial."""

ROOT = Path(__file__).resolve().parent.parent
NUM_CLASSES, CLASS_SIZE, FEATURE_DIM = 100, 22, 1280


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Measure what was asked for."""
    parts: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
        "trivial": measure_trivial_trials,
        "start": measure_start,
        "between": measure_between,
    }
    return [row for name in arguments.parts for row in parts[name](arguments)]


def measure_trivial_trials(arguments: argparse.Namespace) -> list[Row]:
    """Run trials without work as a study does, and with Ray Tune, each in its own process with its own Ray."""
    number = arguments.trials
    few = max(2, number // 8)  # Ray Tune as shipped starts a process for each trial
    seconds = {
        system: _seconds_per_trial(system, trials)
        for system, trials in (("study", number), ("tune_reusing", number), ("tune", few))
    }
    what, ours = f"a trial without work, of {number}, 2 at a time, s", seconds["study"]
    return [
        Row.less(f"{what}; beside the target", ours, TRIAL_S, target=1),
        Row.less(f"{what}; beside Ray Tune with reuse_actors", ours, seconds["tune_reusing"]),
        Row.less(f"{what}; beside Ray Tune as shipped, {few} trials", ours, seconds["tune"]),
    ]


def _seconds_per_trial(system: str, number: int) -> float:
    driver = str(ROOT / "benchmarks" / "driver.py")
    words = ["--one", "--systems", system, "--trials", str(number), "--last", str(number)]
    done = subprocess.run([sys.executable, driver, *words], check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["whole_s"]) / number


def measure_start(arguments: argparse.Namespace) -> list[Row]:
    """Start a study several times, after one that fills the cache."""
    with tempfile.TemporaryDirectory() as folder:
        flags = shlex.split(arguments.study)
        if "--data-root" not in flags:
            flags += ["--data-root", f"{folder}/data"]
        if "--cache-dir" not in flags:
            flags += ["--cache-dir", f"{folder}/cache"]
        flags += ["--num-trials=1", "--max-epochs=1", "--output", f"{folder}/results"]
        starts = [_start_study(flags, Path(folder) / "results", f"study{run}") for run in range(1 + arguments.starts)]
    without_ray = statistics.median(whole_s - ray_s for whole_s, ray_s in starts[1:])
    whole = statistics.median(whole_s for whole_s, _ in starts[1:])
    what = f"from the command to the first trial ({arguments.study}), features cached, s"
    return [
        Row.less(f"{what}, less Ray's start; beside the target", without_ray, START_S, target=1),
        Row.less(f"{what}; beside Ray's start", whole, whole - without_ray),
    ]


def _start_study(flags: Sequence[str], output: Path, name: str) -> tuple[float, float]:
    """Run a study of one trial; return the seconds to its first trial, and those in which Ray started."""
    start_s = time.time()
    command = [sys.executable, str(ROOT / "study" / "run.py"), *flags, "--name", name]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    hosts = [*(output / name).glob("*/trials/*/host.json")]
    said = re.search(r"Ray has started in (?:(\d+) min )?(\d+) s", done.stdout)
    if not hosts or said is None:
        raise SystemExit(f"{shlex.join(command)} has run no trial:\n{done.stdout}")
    first_s = min(host.stat().st_mtime for host in hosts)  # a worker writes it when it has built its first trial
    return first_s - start_s, 60 * int(said[1] or 0) + int(said[2])


def measure_between(arguments: argparse.Namespace) -> list[Row]:
    """Build trials on the same features with and without what earlier trials leave in a worker."""
    featured, cache, shrinkages = make_items(), TrialCache(), count(1)

    def start_trial(kept: TrialCache, shrinkage: float) -> None:
        task = kept.get("task", lambda: FewShotTask(featured, seed=0))
        Trainer(task, configure(shrinkage), torch.device("cpu"), cache=kept)

    size = f"{len(featured.classes)} items, D = {FEATURE_DIM}"
    rows: list[Row] = []
    for what, shrinkage in (
        (f"building a trial that whitens with another shrinkage, {size}, s", lambda: 1 / (1 + next(shrinkages))),
        (f"building a trial that whitens as one before, {size}, s", lambda: 0.5),
    ):
        seconds = alternate(
            lambda shrinkage=shrinkage: start_trial(cache, shrinkage()),
            lambda shrinkage=shrinkage: start_trial(TrialCache(), shrinkage()),
            arguments.repeats,
        )
        rows.append(Row.less(f"{what}; beside a worker that keeps nothing", *seconds))
    return rows


def make_items() -> FeaturedItems:
    """Return items with random features."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(NUM_CLASSES), CLASS_SIZE)
    attributes = generator.random((len(classes), 312)) < 0.1
    return FeaturedItems(
        features=np.abs(generator.normal(size=(len(classes), FEATURE_DIM))).astype(np.float32),
        classes=classes,
        attributes=attributes,
        certain=np.ones_like(attributes),
        attribute_names=tuple(f"a{number}" for number in range(attributes.shape[1])),
        splits={
            Split.TRAIN: np.flatnonzero(classes % 2 == 0),
            Split.VAL: np.flatnonzero(classes % 4 == 1),
            Split.TEST: np.flatnonzero(classes % 4 == 3),
        },
    )


def configure(shrinkage: float) -> TrialConfig:
    """Return a trial on whitened features."""
    flat: dict[str, Any] = {
        "encoder": "siamese",
        "supervision": "supervised",
        "gate": "XNOR",
        "lambda": 0.1,
        "num_conditions": 50,
        "learning_rate": 1e-3,
        "normalisation": "whiten",
        "whitening_shrinkage": shrinkage,
        "feature_power": 0.5,
        "pairs": "fresh",
        "pairs_per_epoch": 8192,
        "steps_per_epoch": 1,
        "max_epochs": 1,
        "seed": 0,
    }
    return TrialConfig.from_flat(flat)


def main() -> None:
    """Parse the arguments, measure, and print the rows."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--parts", nargs="+", choices=("trivial", "start", "between"), default=["trivial", "start", "between"]
    )
    arguments.add_argument("--trials", type=int, default=128, help="trials without work")
    arguments.add_argument("--study", default="--dataset demo", help="flags of the study that is started")
    arguments.add_argument("--starts", type=int, default=3, help="how often the study is started")
    arguments.add_argument("--repeats", type=int, default=5, help="how often a trial is built")
    run_benchmark(arguments, measure)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
