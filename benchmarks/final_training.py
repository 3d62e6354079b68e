"""How much faster is a final training whose seeds and baselines run side by side?

A generated task of the size of a study on birds: Gaussian classes in 1280 dimensions, and a first trial of the demo.
Five seeds and the baselines, `paper_setting` included, are trained and tested in one process for each core, and one
after another. The fork of the processes is included; features and the libraries that they load ahead are not.

The first row compares with one process whose threads use all cores, as `--jobs 1` did before trainings had a fixed
number of threads. The second compares with `--jobs 1`, which has the same threads and the same numbers. The last row is
what the cores of this machine give together: a matrix product in each process at once, against one after another in one
process. On two hyperthreads of one core it is far below 2, and bounds the other rows.

    .venv/bin/python benchmarks/final_training.py
"""

import argparse
import io
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Row, alternate, parser, run_benchmark
from rich.console import Console

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from search_spaces import SPACES
from study.app.final.final_input import FinalInput
from study.app.final.jobs import Plan, plan_workers, run_final_jobs
from study.app.processes.jobs import Job, Link
from study.app.processes.side_by_side import run_jobs
from study.app.processes.worker_pool import load_ahead
from study.app.processes.worker_process import Worker
from study.config.choices import Regime
from study.config.final_config import FinalConfig
from study.nodes.resources import usable_cpus
from study.terminal import Terminal
from study.trials.preparation import PreparedDataset

IMAGES_PER_CLASS, NUM_CLASSES, DIM, NUM_ATTRIBUTES = 40, 80, 1280, 32
EPOCHS = 9
PRODUCTS, SIZE = 200, 1024


def make_dataset() -> PreparedDataset:
    """Return a few-shot dataset: half of the classes are for training, a quarter each for val and test."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(NUM_CLASSES), IMAGES_PER_CLASS)
    centres = generator.standard_normal((NUM_CLASSES, DIM))
    features = centres[classes] + 4 * generator.standard_normal((len(classes), DIM))
    attributes = (centres[:, :NUM_ATTRIBUTES] > 0)[classes]
    splits = {Split.TRAIN: (0, 2), Split.VAL: (2, 3), Split.TEST: (3, 4)}
    featured = FeaturedItems(
        features=features.astype(np.float32),
        classes=classes,
        attributes=attributes,
        certain=np.ones_like(attributes),
        attribute_names=tuple(f"attribute {number}" for number in range(NUM_ATTRIBUTES)),
        splits={
            split: np.flatnonzero((classes * 4 // NUM_CLASSES >= low) & (classes * 4 // NUM_CLASSES < high))
            for split, (low, high) in splits.items()
        },
    )
    return PreparedDataset(
        dataset="demo",
        featured=featured,
        fingerprint="sha256:generated",
        features={"backbone": "generated", "regime": Regime.FROZEN.value},
        left_out={},
        unreadable={},
        from_cache=True,
    )


def silent() -> Terminal:
    """Return a terminal that prints nothing."""
    return Terminal(Console(file=io.StringIO()))


def train(prepared: PreparedDataset, seeds: int, plan: Callable[[FinalConfig], Plan]) -> None:
    """Run the jobs of a final training with an empty cache."""
    config: dict[str, Any] = {
        **SPACES["demo"].first_trials[-1],
        "pairs_per_epoch": 2048,
        "max_epochs": EPOCHS,
        "seed": 0,
    }
    best = {"config": config, "metric": {"epoch": EPOCHS}, "features": prepared.features}
    with tempfile.TemporaryDirectory() as folder:
        flags = FinalConfig(
            best_config=Path(folder, "study", "best_config.json"), seeds=seeds, cache_dir=Path(folder, "cache")
        )
        run_final_jobs(FinalInput(best=best, prepared=prepared, config=flags), plan(flags), silent())


def side_by_side(config: FinalConfig) -> Plan:
    """Return the plan of a CPU without --jobs."""
    return plan_workers(config, Regime.FROZEN, num_gpus=0)


def in_turn(num_threads: int, _config: FinalConfig) -> Plan:
    """Return the plan of one process."""
    return Plan(workers=(), num_threads=num_threads)


def multiply(_shared: Any, link: Link) -> None:
    """Multiply matrices for some seconds, on the threads of the process."""
    matrix = torch.ones(SIZE, SIZE)
    _ = matrix @ matrix
    with link.timed("products"):
        for _ in range(PRODUCTS):
            _ = matrix @ matrix


def measure_cores(cores: int) -> Row:
    """Compare the seconds of products in a process for each core, the slowest, with one after another."""
    jobs = [Job(name=str(number), run=multiply) for number in range(cores)]
    ended = run_jobs(jobs, None, [Worker(num_threads=1)] * cores, silent(), num_threads=1)
    together = max(job.times_s["products"] for job in ended.values())
    ended = run_jobs(jobs, None, [], silent(), num_threads=1)
    alone = sum(job.times_s["products"] for job in ended.values())
    return Row.less(f"bound: products in {cores} processes at once, and one after another", together, alone)


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Measure final trainings, and what the cores give together."""
    cores = usable_cpus()
    torch.set_num_threads(cores)
    load_ahead(["study.app.final.jobs"])  # as the command does while it prepares the data
    prepared = make_dataset()
    rows: list[Row] = []
    for threads in dict.fromkeys((cores, 1)):
        ours, peer = alternate(
            lambda: train(prepared, arguments.seeds, side_by_side),
            lambda threads=threads: train(prepared, arguments.seeds, partial(in_turn, threads)),
            arguments.repeats,
        )
        what = f"final training, {arguments.seeds} seeds and baselines: {cores} processes, one of {threads} threads"
        rows.append(Row.less(what, ours, peer, target=2.0))
    if cores > 1:
        rows.append(measure_cores(cores))
    return rows


def arguments_parser() -> argparse.ArgumentParser:
    """Return the parser of this benchmark."""
    made = parser(__doc__)
    made.add_argument("--seeds", type=int, default=5, help="number of trainings besides paper_setting")
    made.add_argument("--repeats", type=int, default=2, help="measured runs of each")
    return made


if __name__ == "__main__":
    run_benchmark(arguments_parser(), measure)
