"""How much faster is a study with this checkout than with another one, such as an earlier commit?

    git worktree add ../before COMMIT && make -C ../before setup
    .venv/bin/python benchmarks/two_checkouts.py ../before --data-root DATA --backbone mobilenet_v2 --weights FILE

Runs the same study/run.py in both checkouts, each with its own .venv, in turn, with features in the cache and an empty
output. --final also runs study/final.py --seeds 5 in both, on the configuration that the other checkout found.
The winners of the searches are judged on the same random episodes of val: the 100 on which trials of version 0.1 were
chosen, and 600 that no search has seen.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure import Row, parser, run_benchmark
from prepared import add_data_flags, study_flags

HERE = Path(__file__).parent
EPISODES = {"the 100 episodes of version 0.1": (100, [0, 2, 100]), "600 new episodes": (600, [1_000_003])}
LARGEST_SHARE = 0.25
"""The share of the trials' time that evaluation should take at most."""


@dataclass(frozen=True)
class Checkout:
    """A checkout with its .venv, and a cache that holds the features."""

    root: Path
    cache: Path
    items: Path

    def run(self, *command: object) -> float:
        """Run a Python command in the checkout and return its seconds."""
        start_s = time.perf_counter()
        subprocess.run([self.python, *map(str, command)], check=True, cwd=self.root)
        return time.perf_counter() - start_s

    def read(self, *command: object) -> str:
        """Run a Python command in the checkout and return what it prints."""
        words = [self.python, *map(str, command)]
        return subprocess.run(words, check=True, cwd=self.root, stdout=subprocess.PIPE, text=True).stdout

    @property
    def python(self) -> str:
        """The Python of the checkout."""
        return str(self.root / ".venv" / "bin" / "python")


@dataclass(frozen=True)
class Searched:
    """A study: its seconds, and its results below `folder`."""

    seconds: float
    folder: Path

    @property
    def best_config(self) -> Path:
        """The file of the winner."""
        return self.folder / "best_config.json"

    def shares(self) -> tuple[int, dict[str, float]]:
        """Return the number of epochs, and the seconds of all epochs by kind of work."""
        with (self.folder / "history.csv").open(encoding="utf-8", newline="") as file:
            epochs = [*csv.DictReader(file)]
        kinds = [name for name in epochs[0] if name.startswith("time/")]
        return len(epochs), {kind: sum(float(epoch[kind] or 0) for epoch in epochs) for kind in kinds}

    @property
    def evaluation_share(self) -> float:
        """The share of the trials' time that evaluation took."""
        seconds = self.shares()[1]
        return sum(value for kind, value in seconds.items() if "evaluate" in kind) / sum(seconds.values())


def search(checkout: Checkout, arguments: argparse.Namespace, flags: list[str], folder: Path) -> Searched:
    """Run the study with a copy of the cache that holds features only."""
    cache = folder / "cache"
    shutil.copytree(checkout.cache, cache)
    flags = [*flags[: flags.index("--cache-dir")], "--cache-dir", str(cache), *flags[flags.index("--cache-dir") + 2 :]]
    seconds = checkout.run(
        *("study/run.py", *flags, "--output", folder / "results", "--name", "study"),
        *("--num-trials", arguments.num_trials, "--seed", arguments.seed),
    )
    return Searched(seconds, folder / "results" / "study" / flags[1])


def train_final(checkout: Checkout, best_config: Path, flags: list[str], folder: Path) -> float:
    """Run the final training with a copy of the cache that holds features only, and return its seconds."""
    shutil.copytree(checkout.cache, folder / "cache")
    data_root = flags[flags.index("--data-root") + 1]
    return checkout.run(
        *("study/final.py", best_config, "--data-root", data_root, "--seeds", 5),
        *("--cache-dir", folder / "cache", "--output", folder / "final"),
    )


def judge(checkout: Checkout, searched: Searched, num_episodes: int, seed: list[int]) -> np.ndarray:
    """Return the winner's accuracy on each of the common episodes."""
    command = (HERE / "judge.py", checkout.items, searched.best_config, "--episodes", num_episodes, "--seed", *seed)
    return np.array(json.loads(checkout.read(*command)))


def accuracy_row(what: str, ours: np.ndarray, peer: np.ndarray) -> Row:
    """Return the row of a winner's accuracy; the ratio reaches 1 unless it is worse beyond the interval."""
    difference = ours - peer
    half = 1.96 * difference.std(ddof=1) / len(difference) ** 0.5
    print(f"{what}: {difference.mean():+.4f} +- {half:.4f}", file=sys.stderr, flush=True)
    text = f"{what}; ratio with half the interval of the difference, {half:.4f}, added"
    return Row(text, float(ours.mean()), float(peer.mean()), float((ours.mean() + half) / peer.mean()), 1)


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Run both checkouts and compare them."""
    with tempfile.TemporaryDirectory(prefix="two-checkouts-") as name:
        folder = Path(name)
        checkouts: list[Checkout] = []
        for place, root in (("ours", HERE.parent), ("peer", arguments.other.absolute())):
            checkout = Checkout(root, folder / place / "cache", folder / place / "items")
            flags = study_flags(arguments, folder / "data", checkout.cache)
            checkout.run(HERE / "prepared.py", "--items", checkout.items, *flags)
            checkouts.append(checkout)
        searches: tuple[list[Searched], list[Searched]] = ([], [])
        for number in range(arguments.rounds):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                searched = search(checkouts[side], arguments, flags, folder / f"search-{side}-{number}")
                searches[side].append(searched)
                epochs, seconds = searched.shares()
                work = ", ".join(f"{kind} {value:.0f} s" for kind, value in seconds.items())
                whose = ("ours", "other")[side]
                print(f"{whose}: {searched.seconds:.0f} s, {epochs} epochs: {work}", file=sys.stderr, flush=True)
        ours, peer = (statistics.median(searched.seconds for searched in side) for side in searches)
        last = [side[-1] for side in searches]
        what = f"study of {arguments.num_trials} trials, {flags[1]}"
        share = last[0].evaluation_share
        was = last[1].evaluation_share
        rows = [
            Row.less(f"{what}: wall-clock, s", ours, peer, target=3),
            Row.more(f"{what}: epochs in that time", last[0].shares()[0], last[1].shares()[0]),
            Row.less(f"{what}: evaluation's share of the trials' time beside that of the other", share, was),
            Row.less(f"{what}: the same beside the largest allowed", share, LARGEST_SHARE, target=1),
        ]
        for where, (count, seed) in EPISODES.items():
            of_ours, of_peer = (judge(*both, count, seed) for both in zip(checkouts, last, strict=True))
            rows.append(accuracy_row(f"{what}: the winner's accuracy on {where}", of_ours, of_peer))
        if arguments.final:
            times_s: tuple[list[float], list[float]] = ([], [])
            for number in range(arguments.rounds):
                for side in (0, 1) if number % 2 == 0 else (1, 0):
                    into = folder / f"final-{side}-{number}"
                    times_s[side].append(train_final(checkouts[side], last[1].best_config, flags, into))
            rows.append(Row.less("final training, 5 seeds, s", *map(statistics.median, times_s), target=2))
    return rows


def arguments_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    made = parser(__doc__)
    made.add_argument("other", type=Path, metavar="OTHER_CHECKOUT", help="a checkout of this project with its .venv")
    add_data_flags(made)
    made.add_argument("--num-trials", type=int, default=32)
    made.add_argument("--seed", type=int, default=0, help="seed of the studies")
    made.add_argument("--rounds", type=int, default=1, help="how often each checkout runs; medians are compared")
    made.add_argument("--final", action="store_true", help="also compare study/final.py --seeds 5")
    return made


if __name__ == "__main__":
    run_benchmark(arguments_parser(), measure)
