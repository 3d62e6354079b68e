"""Commands of study/, as processes and inside the tests' own, on a small dataset; one finished study that many read.

The folders: serial/ runs studies in the tests' process, process/ starts commands that start no Ray, ray/ starts Ray,
nodes/ a cluster of several nodes, store/ an object store.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import pytest
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pan_model.backbones.config import FeaturesConfig
from pan_model.data.demo import DemoConfig, draw_demo
from pan_model.data.featured_items import FeaturedItems
from pan_model.objective import Objective
from study.app.commands import run_command
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import Status, TrialLedger, TrialRecord
from study.trials.preparation import Preparation, prepare_dataset
from study.trials.trial import TrialEnvironment, TrialRun, TrialSpec

IMAGE_SIZE = 32
SMALL = DemoConfig(num_classes=24, images_per_class=12, image_size=IMAGE_SIZE)
TIMEOUT_S = 600.0
FIVE_TRIALS = ("--num-trials=5", "--max-epochs=3", "--grace-epochs=1")


@dataclass(frozen=True)
class Finished:
    """What a command left on the screen, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Started:
    """A command that runs in a session of its own."""

    process: "subprocess.Popen[str]"

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Look again and again; an error when the command ends first."""
        end_s = time.monotonic() + TIMEOUT_S
        while not reached():
            if self.process.poll() is not None or time.monotonic() > end_s:
                result = self.finish()
                raise AssertionError(f"ended too early: {result}")
            time.sleep(0.01)

    def finish(self) -> Finished:
        """Wait for its end."""
        try:
            out, err = self.process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            out, err = self.process.communicate()
            raise AssertionError(f"did not end in {TIMEOUT_S:g} s: {out}{err}") from None
        return Finished(self.process.returncode, out, err)

    def descendants(self) -> dict[int, str]:
        """The command lines of all processes below it, by process id."""
        processes = list_processes()
        return {pid: words for pid, (_, words) in processes.items() if self.process.pid in ancestors(pid, processes)}

    def kill(self) -> None:
        """SIGKILL to the command alone; back when all processes below it are gone, ended one by one if they stay.

        Ray's workers end by themselves soon, its agents take seconds.
        """
        below = self.descendants()
        self.process.kill()
        self.process.communicate()
        end_s = time.monotonic() + 1
        while (left := still_there(below)) and time.monotonic() < end_s:
            time.sleep(0.1)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        while still_there(below):
            time.sleep(0.1)


def list_processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process that is no zombie."""
    words = ["ps", "-A", "-o", "pid=,ppid=,stat=,args="]
    rows = [line.split(maxsplit=3) for line in subprocess.check_output(words, text=True).splitlines()]
    return {int(row[0]): (int(row[1]), row[3]) for row in rows if len(row) == 4 and not row[2].startswith("Z")}


def ancestors(pid: int, processes: dict[int, tuple[int, str]]) -> set[int]:
    """The process ids above one."""
    above = set[int]()
    while pid in processes and processes[pid][0] not in above:
        pid = processes[pid][0]
        above.add(pid)
    return above


def still_there(processes: dict[int, str]) -> list[int]:
    """Those that run still: a process id with another command line is another process, but workers rename theirs."""
    now = list_processes()
    kinds = {pid: words.split("::")[0] for pid, words in processes.items()}
    return [pid for pid, kind in kinds.items() if pid in now and now[pid][1].split("::")[0] == kind]


@dataclass(frozen=True)
class Commands:
    """Starts scripts of study/ in a folder that is not the checkout."""

    checkout: Path
    folder: Path
    all_started: list[Started] = field(default_factory=list[Started])

    def start(self, script: str, *words: object) -> Started:
        """Start study/<script>.py."""
        return self.launch(sys.executable, self.checkout / "study" / f"{script}.py", *words)

    def launch(self, *words: object, **environment: str) -> Started:
        """Start any program, with changes to its environment."""
        process = subprocess.Popen(
            [*map(str, words)],
            cwd=self.folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Started in the background of a shell, this process ignores Ctrl-C, and its children would too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no threads here
        )
        self.all_started.append(Started(process))
        return self.all_started[-1]

    def run(self, script: str, *words: object) -> Finished:
        """Run study/<script>.py to its end."""
        return self.start(script, *words).finish()


@dataclass(frozen=True)
class StudyRun:
    """A study that has run: its flags, what was on the screen, and its files."""

    words: tuple[str, ...]
    output: Path
    finished: Finished

    @property
    def results(self) -> StudyPaths:
        """Its folder."""
        return StudyPaths(self.output / "demo")

    @property
    def files(self) -> DatasetPaths:
        """The files of its dataset."""
        return self.results.dataset("demo")

    def copied(self, output: Path) -> "StudyRun":
        """The same study in another output folder."""
        shutil.copytree(self.output, output)
        words = [str(output) if word == str(self.output) else word for word in self.words]
        return StudyRun(tuple(words), output, self.finished)


@pytest.fixture(scope="session")
def commands(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Generator[Commands]:
    """Start commands as processes; those that a failed test leaves behind are killed."""
    made = Commands(pytestconfig.rootpath, tmp_path_factory.mktemp("elsewhere"))
    yield made
    for started in made.all_started:
        if started.process.poll() is None:
            started.kill()


@pytest.fixture(scope="session")
def run_here() -> Callable[..., Finished]:
    """Run a command inside this process, study/run.py unless another is given, and undo what it changes there."""

    def run(*words: object, command: Callable[[list[str]], int] = run_command) -> Finished:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        out, err = StringIO(), StringIO()
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = command([str(word) for word in words])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return Finished(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Return a folder that is filled once for all test processes: the first to need it fills it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder_of(name: str, fill: Callable[[Path], None]) -> Path:
        folder, filled = root / f"shared-{name}", root / f"shared-{name}.filled"
        with FileLock(root / f"shared-{name}.lock"):
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def data_root(share: Callable[..., Path]) -> Path:
    """The small dataset, to be read only."""
    return share("data", lambda folder: draw_demo(folder / "demo", SMALL))


@pytest.fixture(scope="session")
def cache_dir(share: Callable[..., Path]) -> Path:
    """A cache that all studies use."""
    return share("cache", lambda _: None)


@pytest.fixture(scope="session")
def flags(data_root: Path, cache_dir: Path) -> Callable[..., list[str]]:
    """Return the flags that all studies here have in common, followed by those given."""

    def make(output: Path, *more: object, data: Path = data_root) -> list[str]:
        common = ["--output", output, "--data-root", data, "--cache-dir", cache_dir, "--image-size", IMAGE_SIZE]
        common += ["--confirm", 0]  # what is tested here is not the confirmation
        return [str(word) for word in [*common, *more]]

    return make


@pytest.fixture(scope="session")
def new_data(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Callable[[], Path]:
    """Copy the small dataset to a data root that a test may change."""

    def copy() -> Path:
        folder = tmp_path_factory.mktemp("data")
        shutil.copytree(data_root / "demo", folder / "demo")
        return folder

    return copy


@pytest.fixture(scope="session")
def spoil() -> Callable[[Path], tuple[Path, Path]]:
    """Make one image of a data root unreadable and truncate another; return both."""

    def make(data: Path) -> tuple[Path, Path]:
        unreadable, *_, truncated = sorted((data / "demo" / "images").rglob("*.png"))
        unreadable.write_bytes(b"this is no image")
        truncated.write_bytes(truncated.read_bytes()[:-400])
        return unreadable, truncated

    return make


@pytest.fixture(scope="session")
def run_study(
    run_here: Callable[..., Finished], flags: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., StudyRun]:
    """Run a study in this process, without Ray, in a new output folder."""

    def run(*more: object) -> StudyRun:
        output = tmp_path_factory.mktemp("study")
        words = flags(output, *more, "--executor=serial")
        return StudyRun(tuple(words), output, run_here(*words))

    return run


@pytest.fixture(scope="session")
def shared_study(share: Callable[..., Path], flags: Callable[..., list[str]]) -> Callable[..., StudyRun]:
    """Run a study once for all test processes. It is only to be looked at."""

    def study(name: str, run: Callable[..., Finished], *more: str) -> StudyRun:
        def fill(folder: Path) -> None:
            finished = run(*flags(folder / "results", *more))
            (folder / "screen.json").write_text(json.dumps(asdict(finished)))

        folder = share(name, fill)
        screen = json.loads((folder / "screen.json").read_text())
        return StudyRun(tuple(flags(folder / "results", *more)), folder / "results", Finished(**screen))

    return study


@pytest.fixture(scope="session")
def done(shared_study: Callable[..., StudyRun], run_here: Callable[..., Finished]) -> StudyRun:
    """A finished study: 5 trials of at most 3 epochs, stopped by ASHA from the first epoch on."""
    return shared_study("done", run_here, *FIVE_TRIALS, "--executor=serial")


@pytest.fixture(scope="session")
def done_on_ray(shared_study: Callable[..., StudyRun], commands: Commands) -> StudyRun:
    """The same study on Ray, as a command of its own, one trial at a time."""
    return shared_study("done-on-ray", partial(commands.run, "run"), *FIVE_TRIALS, "--max-concurrent=1")


@pytest.fixture(scope="session")
def featured(data_root: Path, cache_dir: Path) -> FeaturedItems:
    """The features of the small dataset as studies extract them."""
    features = FeaturesConfig(backbone="resnet18", weights="random", image_size=IMAGE_SIZE)
    return prepare_dataset(
        Preparation(dataset="demo", data_root=data_root, cache_dir=cache_dir, features=features)
    ).featured


@pytest.fixture(scope="session")
def train_alone(
    tmp_path_factory: pytest.TempPathFactory, featured: FeaturedItems
) -> Callable[[TrialRecord], TrialRecord]:
    """Run a trial of some study again, in this process and without interruption."""

    def train(record: TrialRecord) -> TrialRecord:
        environment = TrialEnvironment(results=StudyPaths(tmp_path_factory.mktemp("alone")), num_threads=1)
        spec = TrialSpec.from_flat(trial_id=record.trial_id, number=record.number, dataset="demo", config=record.config)
        run = TrialRun(spec, environment, featured)
        try:
            while not run.step().done:
                pass
        finally:
            run.close()
        return TrialLedger(run.folder).read()

    return train


@pytest.fixture(scope="session")
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, with its bytes."""

    def take(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return take


@pytest.fixture(scope="session")
def timeless() -> Callable[[TrialRecord], list[dict[str, Any]]]:
    """A trial's history but for the keys that say how long things took."""

    def take(record: TrialRecord) -> list[dict[str, Any]]:
        return [{key: value for key, value in epoch.items() if not key.startswith("time/")} for epoch in record.history]

    return take


@pytest.fixture(scope="session")
def trial_folders() -> Callable[[StudyPaths], list[Path]]:
    """The folders of all trials that have begun."""
    return lambda results: sorted(
        Path(str(path.parent)) for path in results.dataset("demo").trials.glob("*/config.json")
    )


@pytest.fixture(scope="session")
def states() -> Callable[[StudyPaths], dict[str, TrialState]]:
    """Optuna's word on every trial; a trial that is in the journal twice is an error."""

    def read(results: StudyPaths) -> dict[str, TrialState]:
        storage = JournalStorage(JournalFileBackend(str(results.dataset("demo").journal)))
        trials = optuna.load_study(study_name="demo", storage=storage).trials
        by_id = {trial.user_attrs["trial_id"]: trial.state for trial in trials}
        assert len(by_id) == len(trials)
        return by_id

    return read


@pytest.fixture(scope="session")
def check_whole() -> Callable[[TrialRecord], None]:
    """A completed trial has each epoch once, up to the last or the end of its patience, and its best one's scores."""

    def check(record: TrialRecord) -> None:
        best = record.best_epoch(Objective("few_shot_accuracy", "max"))
        assert record.status is Status.COMPLETED
        assert best is not None
        assert record.best is not None
        assert record.best.epoch == best["epoch"]
        end = min(int(record.config["max_epochs"]), record.best.epoch + int(record.config["patience"]))
        assert [epoch["epoch"] for epoch in record.history] == list(range(1, end + 1))

    return check


@pytest.fixture(scope="session")
def epochs_of() -> Callable[[Path], list[int]]:
    """The epochs in a trial's history.jsonl, line by line."""

    def read(folder: Path) -> list[int]:
        file = folder / "history.jsonl"
        return [json.loads(line)["epoch"] for line in file.read_text().splitlines()] if file.exists() else []

    return read
