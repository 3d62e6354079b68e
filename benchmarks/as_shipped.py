"""How long do 32 trials take, compared with Ray Tune, OptunaSearch and ASHA as they are shipped?

Ours is `study/run.py`. The peer is a program that a competent user writes in an afternoon: a function trainable with
tune.report, OptunaSearch over the same define-by-run space, ASHAScheduler with a grace period of one epoch and the
default loggers. Each of its trials reads the features from disk, trains in the straight form (`straight.py`) and
evaluates 100 random episodes of val in each epoch.

    .venv/bin/python benchmarks/as_shipped.py                                            # generated images
    .venv/bin/python benchmarks/as_shipped.py --data-root DATA --backbone mobilenet_v2 --weights FILE    # birds

Seconds are those of the whole commands. Both start with the same features in the cache. Extracting them is not timed.
Models are compared on 600 random episodes of val, which neither side has seen: the configuration that a side prefers is
trained again for its best number of epochs. The time to the peer's accuracy ends with the first trial of ours that is
better than those before it, and at least as good as the peer's winner on these episodes.
"""

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, parser, run_benchmark
from prepared import add_data_flags, load_items, prepare_items, study_flags

ROOT = Path(__file__).parents[1]
METRIC = "few_shot_accuracy"
RAY_STARTS = 5
"""How often the peer is started if Ray does not start in 30 s, as on busy machines; the last start counts."""

RAY_DID_NOT_START = 75


@dataclass(frozen=True)
class Trial:
    """A trial that is better than all trials that ended before it.

    Attributes:
        seconds: Wall-clock seconds from the command to the end of the trial.
        value: The best value of the metric, on the questions of its own search.
        epoch: The epoch of that value.
        config: The flat configuration.
    """

    seconds: float
    value: float
    epoch: int
    config: dict[str, Any]


def run_ours(
    arguments: argparse.Namespace, flags: list[str], output: Path, environment: dict[str, str]
) -> tuple[float, list[Trial]]:
    """Run a study and return its seconds and its trials that were better than those before."""
    command = [sys.executable, "study/run.py", *flags, "--output", output, "--name", "ours", "--seed", arguments.seed]
    command += ["--num-trials", arguments.num_trials, "--max-concurrent", arguments.max_concurrent]
    began, start_s = time.time(), time.perf_counter()
    subprocess.run([*map(str, command)], check=True, cwd=ROOT, env=environment)
    seconds = time.perf_counter() - start_s
    (table,) = output.glob("ours/*/trials.csv")
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] and row["status"] != "failed"]
    rows.sort(key=lambda row: datetime.fromisoformat(row["ended"]))
    trials = [
        Trial(
            datetime.fromisoformat(row["ended"]).timestamp() - began,
            float(row["metric"]),
            int(row["epoch"]),
            json.loads((table.parent / "trials" / row["trial_id"] / "config.json").read_text())["config"],
        )
        for row in rows
    ]
    return seconds, list(better_than_before(trials))


def better_than_before(trials: list[Trial]) -> Iterator[Trial]:
    """Yield the trials that are better than all before them."""
    best = -math.inf
    for trial in trials:
        if trial.value > best:
            best = trial.value
            yield trial


def run_as_shipped(
    arguments: argparse.Namespace, dataset: str, folder: Path, environment: dict[str, str]
) -> tuple[float, Trial]:
    """Run the peer in its own process, and return its seconds and its best trial."""
    command = [sys.executable, __file__, "--as-shipped", dataset, "--folder", folder]
    command += ["--num-trials", arguments.num_trials, "--max-concurrent", arguments.max_concurrent]
    command += ["--seed", arguments.seed, "--device", arguments.device]
    command += ["--first-trials"] if arguments.first_trials else []
    for attempts_left in reversed(range(RAY_STARTS)):
        start_s = time.perf_counter()
        done = subprocess.run([*map(str, command)], check=False, cwd=ROOT, env=environment)
        seconds = time.perf_counter() - start_s
        if done.returncode != RAY_DID_NOT_START or not attempts_left:
            break
        print("as_shipped: Ray did not start on this busy machine; once more", file=sys.stderr, flush=True)
    done.check_returncode()
    best = json.loads((folder / "peer.json").read_text(encoding="utf-8"))
    return seconds, Trial(seconds, best["value"], best["epoch"], best["config"])


def straight_trainable(config: dict[str, Any]) -> None:
    """Train one trial of the peer and report each epoch."""
    import torch
    from ray import tune
    from straight import StraightTrial, val_episodes

    from pan_model.config import TrialConfig

    constants = config["constants"]
    items = load_items(Path(constants["items"]))
    flat = {name: value for name, value in config.items() if name != "constants"}
    trial = StraightTrial(items, TrialConfig.from_flat(flat), torch.device(constants["device"]))
    episodes = val_episodes(items)
    best, best_epoch = -math.inf, 0
    for epoch in range(1, flat["max_epochs"] + 1):
        loss = trial.train_epoch()
        value = float(trial.evaluate(episodes).mean())
        best, best_epoch = (value, epoch) if value > best else (best, best_epoch)
        tune.report({"epoch": epoch, METRIC: value, "loss": loss, "best": best, "best_epoch": best_epoch})
        if flat["patience"] and epoch - best_epoch >= flat["patience"]:
            return


def suggest_with(suggest: Callable[..., dict[str, Any]], more: dict[str, Any], trial: Any) -> dict[str, Any]:
    """Suggest the configuration of a trial and add what all trials share."""
    return {**suggest(trial), **more}


def search_as_shipped(arguments: argparse.Namespace) -> None:
    """Search with Ray Tune, OptunaSearch and ASHA, and write the best trial to peer.json."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from search_spaces import SPACES

    space = SPACES[arguments.as_shipped]
    constants = {"items": str(arguments.folder / "items"), "device": arguments.device}
    more = {"max_epochs": space.max_epochs, "seed": 0, "constants": constants}
    try:
        ray.init(address="local", num_cpus=arguments.max_concurrent)
    except Exception as error:
        print(error, file=sys.stderr)
        sys.exit(RAY_DID_NOT_START)
    resources = {"cpu": 1, "gpu": 1 / arguments.max_concurrent if arguments.device == "cuda" else 0}
    results = tune.Tuner(
        tune.with_resources(straight_trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                partial(suggest_with, space.suggest, more),  # Tune pickles it
                metric=METRIC,
                mode="max",
                seed=arguments.seed,
                points_to_evaluate=[*map(dict, space.first_trials)] if arguments.first_trials else None,
            ),
            scheduler=ASHAScheduler(
                time_attr="epoch", metric=METRIC, mode="max", max_t=space.max_epochs, grace_period=1
            ),
            num_samples=arguments.num_trials,
            max_concurrent_trials=arguments.max_concurrent,
        ),
        run_config=tune.RunConfig(storage_path=str(arguments.folder / "as_shipped"), name="peer"),
    ).fit()
    best = max((result for result in results if result.metrics), key=lambda result: result.metrics.get("best", -1))
    config = {name: value for name, value in best.config.items() if name != "constants"}
    content = {
        "value": best.metrics["best"],
        "epoch": best.metrics["best_epoch"],
        "config": config,
        "epochs": sum(result.metrics.get("epoch", 0) for result in results if result.metrics),
        "failed": results.num_errors,
    }
    (arguments.folder / "peer.json").write_text(json.dumps(content), encoding="utf-8")


def judge_peer(trial: Trial, folder: Path) -> np.ndarray:
    """Train the peer's winner again, and return the accuracy of each common episode."""
    import torch
    from judge import draw_random_episodes
    from straight import StraightTrial

    from pan_model.config import TrialConfig

    items = load_items(folder / "items")
    straight = StraightTrial(items, TrialConfig.from_flat(trial.config), torch.device("cpu"))
    while straight.epoch < trial.epoch:
        straight.train_epoch()
    return straight.evaluate(draw_random_episodes(items, 600))


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Run both sides and compare them."""
    from judge import draw_random_episodes, interval, judge

    def say(line: str) -> None:
        print(f"as_shipped: {line}", file=sys.stderr, flush=True)

    environment = dict(os.environ)
    if arguments.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory(prefix="as-shipped-") as name:
        folder = Path(name)
        say("extracting features, not timed")
        flags = study_flags(arguments, folder / "data", folder / "cache")
        dataset = flags[1]
        prepare_items(flags, folder / "items")
        ours_s, ours = run_ours(arguments, flags, folder / "results", environment)
        say(f"ours: {ours_s:.0f} s, best {ours[-1].value:.4f} on its own questions")
        peer_s, peer = run_as_shipped(arguments, dataset, folder, environment)
        shipped = json.loads((folder / "peer.json").read_text(encoding="utf-8"))
        say(f"as shipped: {peer_s:.0f} s, {shipped['epochs']} epochs, best {peer.value:.4f} on its own 100 episodes")
        if shipped["failed"]:
            say(f"{shipped['failed']} trials of the peer failed")
        items = load_items(folder / "items")
        episodes = draw_random_episodes(items, 600)
        of_peer = judge_peer(peer, folder)
        of_ours = judge(items, ours[-1].config, ours[-1].epoch, episodes)
        say(f"winner on 600 common episodes: ours {interval(of_ours)}, as shipped {interval(of_peer)}")
        say(f"difference {interval(of_ours - of_peer)}")
        reached = next((t for t in ours if judge(items, t.config, t.epoch, episodes).mean() >= of_peer.mean()), None)
    what = f"{arguments.num_trials} trials, {dataset}, {arguments.max_concurrent} at a time"
    rows = [
        Row.less(f"{what}: the whole command, s", ours_s, peer_s, target=8),
        Row.more(f"{what}: the winner's accuracy on 600 common episodes", of_ours.mean(), of_peer.mean(), target=1),
    ]
    if reached is None:
        say("no trial of ours reached the accuracy of the peer's winner")
        return rows
    return [*rows, Row.less(f"{what}: to the accuracy of the peer's winner, s", reached.seconds, peer_s, target=8)]


def arguments_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    made = parser(__doc__)
    add_data_flags(made)
    made.add_argument("--num-trials", type=int, default=32)
    made.add_argument("--max-concurrent", type=int, default=2, help="trials at a time, on both sides")
    made.add_argument("--seed", type=int, default=0, help="seed of both searches")
    made.add_argument("--first-trials", action="store_true", help="begin the peer's search with our first trials")
    made.add_argument("--as-shipped", help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return made


if __name__ == "__main__":
    if "--as-shipped" in sys.argv:
        search_as_shipped(arguments_parser().parse_args())
    else:
        run_benchmark(arguments_parser(), measure)
