"""What does a trial cost the driver in CPU time and memory, after 100, 1,000 and 10,000 trials?

Compares three systems. study: the searcher, scheduler, journal and ledger of a study. tune: Ray Tune with OptunaSearch
(TPE), ASHAScheduler and its default loggers. tune_reusing: the same with reuse_actors. Trials are trivial: three epochs
without work, on CUB's space, two at a time. Every measurement starts its own process and its own Ray:

    .venv/bin/python benchmarks/driver.py --trials 100 1000

CPU time is that of the driver over the last 100 trials, memory growth that from the 10th trial to the last. Other
processes on the machine hardly change either. With --last 100, only the last 100 trials of each size run; the earlier
ones are written to the ledger, or to OptunaSearch's study, beforehand. Tune's memory use for them is then not included.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

if "--one" in sys.argv and "study" not in sys.argv:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "0"  # the default

import numpy as np
import optuna
import ray
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from pan_model.objective import Objective
from search_spaces import SPACES
from study.config.study_config import StudyConfig
from study.nodes.ray_address import configure_ray_environment
from study.nodes.slots import Slots
from study.storage.paths import StudyPaths
from study.trials.ledger import Status
from study.trials.trial import spec_of
from study.tuning.budget import Budget, GpuMeter
from study.tuning.dataset_search import DatasetSearch
from study.tuning.progress import SearchProgress

SPACE = SPACES["cub"]
METRIC, EPOCHS, SLOTS = "few_shot_accuracy", 3, 2
SYSTEMS = ("study", "tune", "tune_reusing")
WINDOW, WARM = 100, 10


class Moment(NamedTuple):
    """State of the driver when a trial ended: CPU seconds, wall-clock seconds, and megabytes in memory."""

    cpu_s: float
    wall_s: float
    rss_mb: float


@dataclass
class Meter(tune.Callback):
    """Records the state of the driver whenever a trial ends."""

    moments: list[Moment] = field(default_factory=list[Moment])

    def record(self) -> None:
        """Record the current state."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        rss_mb = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        self.moments.append(Moment(time.process_time(), time.monotonic(), rss_mb))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the state."""
        self.record()


class TrivialTrial(tune.Trainable):
    """Reports a value that depends on the configuration. In a study it also writes its ledger."""

    def setup(self, config: dict[str, Any], search: DatasetSearch | None = None) -> None:
        """Start a trial; with a search, write its ledger as a study's trial does."""
        self._search = search
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same actor."""
        self._params, self._ledger = new_config, None
        if self._search is not None:
            spec = spec_of(new_config)
            self._params, self._ledger = spec.config, self._search.ledger(spec.trial_id)
            self._ledger.open(number=spec.number, config=spec.config)
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        """Report an epoch without work."""
        self._epoch += 1
        result = {"epoch": self._epoch, METRIC: value_of(self._params) * (1 + 1 / self._epoch)}
        if self._ledger:
            self._ledger.add_epoch(result, {})
            if self._epoch == EPOCHS:
                self._ledger.close(Status.COMPLETED)
        return {**result, "done": self._epoch == EPOCHS}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Return an empty checkpoint, which Tune requires when a trial ends."""
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Ignore the checkpoint."""


def value_of(params: dict[str, Any]) -> float:
    """Return a value with its maximum, 0, at learning rate 1e-3 and dropout 0.3."""
    return -abs(math.log10(params["learning_rate"]) + 3) - abs(params["dropout"] - 0.3)


def ended_before(num_trials: int) -> list[FrozenTrial]:
    """Return ended trials, two of three stopped by ASHA. Blocks of 100 differ in the learning rate only."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    sampled = [study.ask() for _ in range(min(num_trials, 100))]
    for trial in sampled:
        SPACE.suggest(trial)
    rates = 10 ** np.random.default_rng(0).uniform(-5, -2, num_trials)
    ended: list[FrozenTrial] = []
    for number in range(num_trials):
        trial = sampled[number % 100]
        params = {**trial.params, "learning_rate": float(rates[number])}
        value = 2 * value_of(params)
        state = TrialState.PRUNED if number % 3 else TrialState.COMPLETE
        ended.append(
            create_trial(
                state=state,
                value=value,
                params=params,
                distributions=trial.distributions,
                intermediate_values={1: value},
            )
        )
    return ended


def make_search(root: Path, num_trials: int) -> DatasetSearch:
    """Return the search of a study on CUB with the trivial metric."""
    return DatasetSearch(
        paths=StudyPaths(root).dataset("cub"),
        objective=Objective(METRIC, "max"),
        space=SPACE,
        num_trials=num_trials,
        max_epochs=EPOCHS,
        grace_epochs=1,
        seed=0,
        fingerprint="",
        features={},
    )


def fill_ledger(search: DatasetSearch, num_trials: int) -> None:
    """Write the ledger of trials that have already ended."""
    for number, trial in enumerate(ended_before(num_trials)):
        config = search.complete(SPACE.suggest(optuna.trial.FixedTrial(trial.params)))
        folder = search.paths.trials / search.identify(config)
        folder.mkdir(parents=True)
        status = Status.COMPLETED if trial.state is TrialState.COMPLETE else Status.STOPPED
        files = {
            "config.json": {"trial_id": folder.name, "number": number, "config": config},
            "history.jsonl": {"epoch": 1, METRIC: trial.value},
            "status.json": {"status": status, "error": ""},
        }
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content) + "\n")


def run_study(num_trials: int, last: int, folder: Path, meter: Meter) -> None:
    """Run the last trials of a study and record the driver's state after each of them."""
    from study.tuning.ray_executor import run_trials

    search = make_search(folder, num_trials)
    fill_ledger(search, num_trials - last)
    progress = SearchProgress(search.records(), search.objective)
    ended_at_start = progress.ended

    def record_ended() -> None:
        if progress.ended > ended_at_start + len(meter.moments):
            meter.record()

    trainable = tune.with_parameters(TrivialTrial, search=search)
    slots = Slots(count=SLOTS, cpus=1, gpus=0.0)
    budget = Budget(meter=GpuMeter(lambda: 0.0))
    run_trials(
        trainable, [search], StudyConfig(), slots, budget=budget, progress={"cub": progress}, update=record_ended
    )


def run_tune(num_trials: int, last: int, folder: Path, meter: Meter, *, reuse_actors: bool) -> None:
    """Run the last trials with Ray Tune and OptunaSearch, and record the driver's state after each of them."""
    study = optuna.create_study(storage=(storage := optuna.storages.InMemoryStorage()), direction="maximize")
    study.add_trials(ended_before(num_trials - last))
    sampler = TPESampler(seed=0)
    search = OptunaSearch(
        SPACE.suggest, metric=METRIC, mode="max", sampler=sampler, storage=storage, study_name=study.study_name
    )
    tune.Tuner(
        tune.with_resources(TrivialTrial, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=ASHAScheduler(
                time_attr="epoch", metric=METRIC, mode="max", max_t=EPOCHS, grace_period=1, reduction_factor=3
            ),
            num_samples=last,
            max_concurrent_trials=SLOTS,
            reuse_actors=reuse_actors,
        ),
        run_config=tune.RunConfig(storage_path=str(folder), name="cub", callbacks=[meter], verbose=0),
    ).fit()


def measure_here(system: str, num_trials: int, last: int) -> dict[str, float]:
    """Run a system in this process and return the driver's costs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    configure_ray_environment()
    ray.init(address="local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    meter = Meter()
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if system == "study":
            run_study(num_trials, last, Path(folder), meter)
        else:
            run_tune(num_trials, last, Path(folder), meter, reuse_actors=system == "tune_reusing")
    whole_s = time.monotonic() - begun_s
    ray.shutdown()
    moments = meter.moments
    first, end = moments[max(WARM, len(moments) - WINDOW) - 1], moments[-1]
    in_window, since_warm = len(moments) - max(WARM, len(moments) - WINDOW), len(moments) - WARM
    return {
        "cpu_ms": 1000 * (end.cpu_s - first.cpu_s) / in_window,
        "wall_ms": 1000 * (end.wall_s - first.wall_s) / in_window,
        "kb_per_trial": 1024 * (end.rss_mb - moments[WARM - 1].rss_mb) / since_warm,
        "rss_mb": end.rss_mb,
        "whole_s": whole_s,
    }


def measure(system: str, num_trials: int, last: int) -> dict[str, float]:
    """Run a system in its own process and return the driver's costs."""
    command = [sys.executable, __file__, "--one", "--systems", system, "--trials", num_trials, "--last", last]
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure every system at every size and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000], help="sizes of studies")
    parser.add_argument("--last", type=int, default=0, help="run only the last N trials of each size; 0: all")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure_here(arguments.systems[0], arguments.trials[0], arguments.last)))
        return
    print("| trials | system | CPU ms per trial | ratio | wall ms per trial | KB per trial | final MB | total s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for num_trials in arguments.trials:
        base: float | None = None
        for system in arguments.systems:
            spent = measure(system, num_trials, min(arguments.last or num_trials, num_trials))
            base = base or spent["cpu_ms"]
            cells = (f"{spent['cpu_ms']:.1f}", f"{spent['cpu_ms'] / base:.1f}", f"{spent['wall_ms']:.0f}")
            rest = (f"{spent['kb_per_trial']:.1f}", f"{spent['rss_mb']:.0f}", f"{spent['whole_s']:.0f}")
            print(f"| {' | '.join((str(num_trials), system, *cells, *rest))} |", flush=True)


if __name__ == "__main__":
    main()
