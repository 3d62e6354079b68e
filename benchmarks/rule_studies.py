"""The studies of a study of studies: arms, files, and processes that run them."""

import argparse
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rule_outcomes import FinishedStudy, read_finished

from pan_model.files import atomic_write
from study.config.choices import Sampler, Scheduler

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to search: its name, and the flags of study/run.py that make it."""

    name: str
    flags: tuple[str, ...]


def read_arm(text: str) -> Arm:
    """Read an arm: SAMPLER+RULE, or NAME=FLAGS.

    Raises:
        argparse.ArgumentTypeError: The text is neither.
    """
    name, equals, flags = text.partition("=")
    if equals:
        if not name or Path(name).name != name or name.startswith("."):
            raise argparse.ArgumentTypeError(f"the name of an arm must be a plain file name, got '{name}'.")
        return Arm(name=name, flags=tuple(shlex.split(flags)))
    sampler, _, scheduler = text.partition("+")
    if sampler not in [*Sampler] or scheduler not in [*Scheduler]:
        raise argparse.ArgumentTypeError(
            f"an arm must be SAMPLER+RULE or NAME=FLAGS, got '{text}'; samplers: {', '.join(Sampler)}; "
            f"rules: {', '.join(Scheduler)}."
        )
    return Arm(name=text, flags=("--sampler", sampler, "--scheduler", scheduler))


def default_arms() -> list[Arm]:
    """Return every sampler with ASHA, and random search with every other rule."""
    pairs = [*((sampler, Scheduler.ASHA) for sampler in Sampler), *((Sampler.RANDOM, rule) for rule in Scheduler)]
    return [read_arm(f"{sampler}+{rule}") for sampler, rule in dict.fromkeys(pairs)]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the files of a study, or those of a dataset's studies, are.

    <output>/<dataset>/<arm>-<seed>/ is the study; .log beside it is what it printed, and .json its flags once it has
    ended. <output>/judged/<dataset>/ has a file for each judged configuration.
    """

    output: Path
    dataset: str

    def study(self, arm: str, seed: int) -> Path:
        """Return the folder of a study."""
        return self.output / self.dataset / f"{arm}-{seed}"

    def ended(self, arm: str, seed: int) -> Path:
        """Return the file that says that a study has ended, and with which flags."""
        return self.output / self.dataset / f"{arm}-{seed}.json"

    @property
    def judged(self) -> Path:
        """The folder of judged configurations."""
        return self.output / "judged" / self.dataset


def flags_of_study(arguments: argparse.Namespace, dataset: str, arm: Arm, seed: int) -> list[str]:
    """Return the flags that a study is run with, which decide what it finds."""
    flags = ["--dataset", dataset, "--data-root", str(arguments.data_root), "--seed", str(seed)]
    for name in ("backbone", "weights", "cache_dir", "num_trials", "max_epochs"):
        if (value := getattr(arguments, name)) is not None:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    return [*flags, "--executor", "serial", *shlex.split(arguments.flags), *arm.flags]


def has_ended(place: Place, arm: Arm, seed: int, flags: Sequence[str]) -> bool:
    """Return whether a study has ended that was run with these flags."""
    file = place.ended(arm.name, seed)
    return file.is_file() and json.loads(file.read_text(encoding="utf-8"))["flags"] == [*flags]


class Stopped(Exception):
    """The command was interrupted."""


class Processes:
    """Runs commands on one core each, and ends those that are running when the command is interrupted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = set[subprocess.Popen[bytes]]()
        self._stopped = False

    def run(self, command: Sequence[str], log: Path) -> None:
        """Run a command; what it prints is appended to a file.

        Raises:
            RuntimeError: Its exit code is not 0.
            Stopped: The command was interrupted.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with log.open("ab") as file:
            with self._lock:
                if self._stopped:
                    raise Stopped
                process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
                self._running.add(process)
            code = process.wait()
        with self._lock:
            self._running.discard(process)
            if self._stopped:
                raise Stopped
        if code:
            lines = log.read_text(encoding="utf-8").strip().splitlines()
            raise RuntimeError(f"exit code {code}: {lines[-1] if lines else 'no output'} ({log})")

    def stop(self) -> None:
        """End the running commands, which can be resumed, and start no others."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def run_study(arguments: argparse.Namespace, place: Place, arm: Arm, seed: int, processes: Processes) -> str:
    """Run or resume a study in its own process, and return a line on it."""
    flags = flags_of_study(arguments, place.dataset, arm, seed)
    command = [sys.executable, str(ROOT / "study" / "run.py"), *flags, "--resume"]
    command += ["--output", str(place.output / place.dataset), "--name", f"{arm.name}-{seed}"]
    start_s = time.perf_counter()
    processes.run(command, place.study(arm.name, seed).with_name(f"{arm.name}-{seed}.log"))
    seconds = time.perf_counter() - start_s
    with atomic_write(place.ended(arm.name, seed)) as path:
        path.write_text(json.dumps({"flags": flags, "last_run_s": seconds}) + "\n", encoding="utf-8")
    spent = read_finished(place.study(arm.name, seed), place.dataset, arm.name, seed).spent
    return f"{spent.epochs} epochs, {spent.seconds:.0f} s of training and evaluation, {seconds:.0f} s in all"


def read_seed(arguments: argparse.Namespace, place: Place, seed: int) -> list[FinishedStudy]:
    """Return the studies of all arms with one seed, or none if one of them has not ended."""
    for arm in arguments.arms:
        if not has_ended(place, arm, seed, flags_of_study(arguments, place.dataset, arm, seed)):
            return []
    return [read_finished(place.study(arm.name, seed), place.dataset, arm.name, seed) for arm in arguments.arms]
