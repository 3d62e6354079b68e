"""How well a study uses nodes: the share of its slots' time in which trials train and evaluate, at 1, 2 and 4 nodes.

A study of small trials runs on a cluster of Ray nodes, one CPU each, that this command starts on this machine. Of each
study: trials' seconds of training and evaluation (`time/` in the ledger), seconds from the first trial's start to the
end of the last, and their ratio per slot. Nodes share this machine's cores: where there are more nodes than cores, a
trial's second is a core's part of one, so the ratio per core is printed beside. Give at least as many trials as nodes,
and more for a fair end:

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
    """What a study on some nodes came to: ended trials, seconds of training, seconds of search, process seconds."""

    trials: int
    trained_s: float
    search_s: float
    whole_s: float


@contextmanager
def nodes(count: int) -> Iterator[str]:
    """A cluster of so many nodes of one CPU; gives its address."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for _ in range(count - 1):
            cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


def run_study(folder: Path, address: str, name: str, num_trials: int, max_epochs: int) -> Use:
    """Run a study through the command; its first and its last trial bound the search."""
    words = ["--data-root", folder / "data", "--cache-dir", folder / "cache", "--output", folder / "results"]
    words += ["--image-size", IMAGE_SIZE, "--num-trials", num_trials, "--max-epochs", max_epochs, "--name", name]
    words += ["--scheduler", "none", "--sampler", "random", "--ray-address", address]
    started_s = time.monotonic()
    assert run_command([str(word) for word in words]) == 0
    whole_s = time.monotonic() - started_s
    trials = StudyPaths(folder / "results" / name).dataset("demo").trials
    records = read_ledger(trials)
    starts = [file.stat().st_mtime for file in trials.glob("*/config.json")]
    ends = [file.stat().st_mtime for file in trials.glob("*/status.json")]
    trained_s = sum(record.wall_s for record in records)
    return Use(count_ended(records), trained_s, max(ends) - min(starts), whole_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--num-trials", type=int, default=24)
    parser.add_argument("--max-epochs", type=int, default=20)
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # all on this machine
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores; {arguments.num_trials} trials of at most {arguments.max_epochs} epochs")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw_demo(folder / "data" / "demo", DATA)
        rows: list[tuple[int, Use]] = []
        for count in [1, *arguments.nodes]:  # the first fills caches, and is not counted
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
