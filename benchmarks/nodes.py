"""How well does a study use its nodes? The share of the slots' time in which trials train, on 1, 2 and 4 nodes.

The command starts Ray nodes with one CPU each on this machine and runs a study of small trials on them. It prints the
trials' seconds of training and evaluation (`time/` in the ledger), the seconds from the start of the first trial to the
end of the last, and their ratio per slot. The nodes share the cores of this machine, so with more nodes than cores the
ratio per core is the meaningful one. Run several trials per node, so that the end of the search weighs little:

    .venv/bin/python benchmarks/nodes.py --nodes 1 2 4 --num-trials 24
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ray.cluster_utils import Cluster

from pan_model.data.demo import DemoConfig, draw_demo
from study.app.commands import run_command
from study.storage.paths import StudyPaths
from study.trials.ledger import count_ended, read_ledger

IMAGE_SIZE = 32
DATA = DemoConfig(num_classes=24, images_per_class=12, image_size=IMAGE_SIZE)


class Use(NamedTuple):
    """Result of a study: ended trials, and seconds of training, of the search and of the whole command."""

    trials: int
    trained_s: float
    search_s: float
    whole_s: float


@contextmanager
def nodes(count: int) -> Iterator[str]:
    """Start a cluster of nodes with one CPU each and yield its address."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


def run_study(folder: Path, address: str, name: str, num_trials: int, max_epochs: int) -> Use:
    """Run a study through the command. The search lasts from the first trial's start to the last trial's end."""
    arguments = ["--data-root", folder / "data", "--cache-dir", folder / "cache", "--output", folder / "results"]
    arguments += ["--image-size", IMAGE_SIZE, "--num-trials", num_trials, "--max-epochs", max_epochs, "--name", name]
    arguments += ["--scheduler", "none", "--sampler", "random", "--ray-address", address]
    started_s = time.monotonic()
    assert run_command([str(argument) for argument in arguments]) == 0
    whole_s = time.monotonic() - started_s
    trials = StudyPaths(folder / "results" / name).dataset("demo").trials
    records = read_ledger(trials)
    starts = [file.stat().st_mtime for file in trials.glob("*/config.json")]
    ends = [file.stat().st_mtime for file in trials.glob("*/status.json")]
    trained_s = sum(record.wall_s for record in records)
    return Use(count_ended(records), trained_s, max(ends) - min(starts), whole_s)


def main() -> None:
    """Run a study for each number of nodes and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--num-trials", type=int, default=24)
    parser.add_argument("--max-epochs", type=int, default=20)
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # all nodes are on this machine
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores; {arguments.num_trials} trials of at most {arguments.max_epochs} epochs")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw_demo(folder / "data" / "demo", DATA)
        rows: list[tuple[int, Use]] = []
        for count in [1, *arguments.nodes]:  # the first run fills caches and is not reported
            with nodes(count) as address:
                use = run_study(folder, address, f"{len(rows)}", arguments.num_trials, arguments.max_epochs)
            rows.append((count, use))
    print("nodes  trials  training s  search s  whole s  per slot  per usable core")
    for count, use in rows[1:]:
        per_slot, per_core = (use.trained_s / use.search_s / slots for slots in (count, min(count, cores)))
        print(
            f"{count:5}  {use.trials:6}  {use.trained_s:10.1f}  {use.search_s:8.1f}  {use.whole_s:7.1f}  "
            f"{per_slot:8.2f}  {per_core:15.2f}"
        )


if __name__ == "__main__":
    main()
