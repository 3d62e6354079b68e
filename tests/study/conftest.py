"""A small dataset in features, ledgers written by hand, a disk on which a process can die at any write, and a store."""

import os
import runpy
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
import pytest
import torch
from optuna.samplers import RandomSampler

from pan_model.command_line import OneLineParser
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from search_spaces import SPACES
from study.config.space_description import record_space
from study.config.study_config import StudyConfig
from study.config.study_file import STUDY_SCHEMA
from study.reporting.final_metrics import average_over_seeds, model_metrics
from study.storage.files import write_json
from study.storage.location import Location, locate
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import BestEpoch, Status, TrialLedger, TrialRecord
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import as_lists, write_baselines
from study.trials.selection.confirmation import run_config, run_id, seeds_of

NUM_CLASSES = 20
ITEMS_PER_CLASS = 8
FEATURE_DIM = 6
METRIC = "few_shot_accuracy"


class Killed(BaseException):
    """The end of a process: nothing that runs in it may catch this."""


@pytest.fixture(scope="session")
def featured() -> FeaturedItems:
    """Items whose features are their class's place, with noise, and whose attributes are signs of it."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(NUM_CLASSES), ITEMS_PER_CLASS)
    places = generator.normal(size=(NUM_CLASSES, FEATURE_DIM))
    noise = generator.normal(size=(len(classes), FEATURE_DIM))
    attributes = places[classes] > 0
    return FeaturedItems(
        features=(places[classes] + 0.5 * noise).astype(np.float32),
        classes=classes,
        attributes=attributes,
        certain=np.ones_like(attributes),
        attribute_names=tuple(f"a{a}" for a in range(FEATURE_DIM)),
        splits={
            Split.TRAIN: np.flatnonzero(classes % 2 == 0),
            Split.VAL: np.flatnonzero(classes % 4 == 1),
            Split.TEST: np.flatnonzero(classes % 4 == 3),
        },
    )


@pytest.fixture(scope="session")
def prepared(featured: FeaturedItems) -> PreparedDataset:
    """The small dataset, as if it were the demo and its features had been read."""
    return PreparedDataset(
        dataset="demo",
        featured=featured,
        fingerprint=f"sha256:{'ef' * 32}",
        features={
            "regime": "frozen",
            "backbone": "resnet18",
            "weights": "random",
            "weights_sha256": "ab" * 32,
            "image_size": 64,
        },
        left_out={},
        unreadable={},
        from_cache=True,
    )


@pytest.fixture
def small_trial() -> dict[str, Any]:
    """A trial's configuration, two epochs of 64 pairs."""
    return {
        "encoder": "siamese",
        "supervision": "supervised",
        "gate": "XNOR",
        "lambda": 0.1,
        "num_conditions": 4,
        "learning_rate": 1e-2,
        "dropout": 0.5,
        "pairs": "fresh",
        "pairs_per_epoch": 64,
        "steps_per_epoch": 2,
        "max_epochs": 2,
        "seed": 3,
    }


@pytest.fixture
def parser_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[OneLineParser, str]]:
    """Return the parser of a script or module of the repository, such as study/run.py, and its help."""

    def find(command: str) -> tuple[OneLineParser, str]:
        parsers: list[OneLineParser] = []
        print_help = OneLineParser.print_help

        def remember(parser: OneLineParser, file: Any = None) -> None:
            parsers.append(parser)
            print_help(parser, file)

        with monkeypatch.context() as changed:
            changed.setattr(OneLineParser, "print_help", remember)
            changed.setattr(sys, "argv", [command, "--help"])
            changed.setenv("COLUMNS", "80")
            with pytest.raises(SystemExit, match="0"):
                runpy.run_path(str(Path(__file__).parents[2] / command), run_name="__main__")
        return parsers[0], capsys.readouterr().out

    return find


@pytest.fixture
def study_config(tmp_path: Path) -> Callable[..., StudyConfig]:
    """Make a study of the demo below the test's own folder."""

    def make(**changes: Any) -> StudyConfig:
        folders: dict[str, Any] = {
            "data_root": tmp_path / "data",
            "output": tmp_path / "results",
            "cache_dir": tmp_path / "cache",
        }
        return StudyConfig(**folders | changes)

    return make


@pytest.fixture(scope="session")
def suggested() -> Callable[[int], dict[str, Any]]:
    """A complete configuration from the demo's space, another for every number."""

    def suggest(number: int) -> dict[str, Any]:
        trial = optuna.create_study(sampler=RandomSampler(seed=number)).ask()
        return {**SPACES["demo"].suggest(trial), "max_epochs": 9, "seed": 0}

    return suggest


@pytest.fixture(scope="session")
def epochs() -> Callable[..., list[dict[str, int | float]]]:
    """A history with the given values of the metric, each epoch a second and a half long."""

    def make(*values: float, metric: str = METRIC) -> list[dict[str, int | float]]:
        return [
            {"epoch": epoch, metric: value, "loss/total": 1 / epoch, "time/train_s": 1.25, "time/evaluate_s": 0.25}
            for epoch, value in enumerate(values, 1)
        ]

    return make


@pytest.fixture(scope="session")
def record(suggested: Callable[[int], dict[str, Any]], epochs: Callable[..., Any]) -> Callable[..., TrialRecord]:
    """A trial's record: its number, its status, and the metric's value in each epoch."""

    def make(number: int, status: Status, *values: float, **changes: Any) -> TrialRecord:
        given: dict[str, Any] = {"trial_id": f"trial{number}", "config": suggested(number), "history": epochs(*values)}
        return TrialRecord(number=number, status=status, **given | changes)

    return make


@pytest.fixture(scope="session")
def write_trial() -> Callable[[Location, TrialRecord], None]:
    """Write a record as the trial itself would have."""

    def write(trials: Location, record: TrialRecord) -> None:
        ledger = TrialLedger(trials / record.trial_id)
        ledger.open(number=record.number, config=record.config)
        for epoch in record.history:
            best = record.best if record.best and record.best.epoch == epoch["epoch"] else None
            ledger.add_epoch(epoch, {"epoch": epoch["epoch"], "weights": torch.zeros(2)}, best)
        if record.status is not Status.RUNNING:
            ledger.close(record.status, record.error)

    return write


@pytest.fixture(scope="session")
def write_runs(write_trial: Callable[[Location, TrialRecord], None]) -> Callable[..., None]:
    """Write the runs that confirm a trial up to an epoch: the scores of each, None for one that failed."""

    def write(files: DatasetPaths, record: TrialRecord, epoch: int, *scores: list[float] | None) -> None:
        for seed, questions in zip(seeds_of(record), scores, strict=False):
            history: list[dict[str, int | float]] = [{"epoch": number} for number in range(1, epoch + 1)]
            run = TrialRecord(
                trial_id=run_id(record.trial_id, epoch, seed),
                number=record.number,
                config=run_config(record, epoch, seed),
                status=Status.FAILED if questions is None else Status.COMPLETED,
                error="it broke" if questions is None else "",
            )
            if questions is not None:
                history[-1][METRIC] = sum(questions) / len(questions)
                run = replace(
                    run, history=history, best=BestEpoch(epoch=epoch, questions={METRIC: questions}, baselines={})
                )
            write_trial(files.confirmation, run)

    return write


@pytest.fixture(scope="session")
def killed_at() -> Callable[..., AbstractContextManager[list[str]]]:
    """Die at one instant among the disk's operations below a folder; the list names the operation when it came to it.

    Every fsync, rename and unlink of a file has two instants, before and after it. What was written since the last
    fsync may not be on the disk when the next one has not begun: its last `cut` bytes are then lost. The dead clean
    nothing up: whatever is tried on the disk on the way out is not done.
    """

    @contextmanager
    def kill(folder: Path, instant: int, cut: int = 0) -> Generator[list[str]]:
        died: list[str] = []
        passed = 0
        on_disk = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*")}

        def watch(name: str, call: Callable[..., None], files: Callable[..., list[Path]]) -> Callable[..., None]:
            def watched(*arguments: Any) -> None:
                nonlocal passed
                touched = files(*arguments)
                if touched and died:
                    raise Killed
                passed += 2 if touched else 0
                if not touched:
                    call(*arguments)
                    return
                if passed - 2 == instant:
                    if name == "fsync":
                        written = touched[0].stat()
                        os.truncate(touched[0], max(written.st_size - cut, on_disk.get(written.st_ino, 0)))
                    died.append(f"before {name} of {touched[0].name}")
                    raise Killed
                call(*arguments)
                if name == "fsync":
                    on_disk[touched[0].stat().st_ino] = touched[0].stat().st_size
                if passed - 1 == instant:
                    died.append(f"after {name} of {touched[0].name}")
                    raise Killed

            return watched

        def open_file(descriptor: int) -> list[Path]:
            return [path for path in folder.rglob("*") if os.path.samestat(path.stat(), os.fstat(descriptor))]

        def named(path: Any, *_: Any) -> list[Path]:
            return [Path(path)] if Path(path).is_relative_to(folder) and Path(path).exists() else []

        with (
            patch.object(os, "fsync", watch("fsync", os.fsync, open_file)),
            patch.object(os, "replace", watch("replace", os.replace, named)),
            patch.object(os, "unlink", watch("unlink", os.unlink, named)),
        ):
            try:
                yield died
            except Killed:
                return

    return kill


@pytest.fixture
def bucket(store: Any, request: pytest.FixtureRequest) -> Location:
    """A prefix of the test's own in the store."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.nodeid)
    return locate(f"s3://studies/{name}")


@pytest.fixture(params=["folder", "store"])
def anywhere(request: pytest.FixtureRequest) -> Location:
    """Where results can be: a folder, then a prefix of a store."""
    return request.getfixturevalue({"folder": "tmp_path", "store": "bucket"}[request.param])


@pytest.fixture(scope="session")
def study_content() -> Callable[..., dict[str, Any]]:
    """The content of a study.json with the search spaces of its datasets; changes are those of each dataset's entry."""

    def make(name: str, datasets: tuple[str, ...] = ("demo",), *, seed: int = 0, **changes: Any) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "num_trials": 3,
            "max_epochs": 9,
            "grace_epochs": 3,
            "objective": {"name": METRIC, "mode": "max"},
            "features": {
                "regime": "frozen",
                "backbone": "resnet18",
                "weights": "random",
                "weights_sha256": "ab" * 32,
                "image_size": 64,
                "pooling": "avg",
            },
            "data": {
                "fingerprint": f"sha256:{'ef' * 32}",
                "splits": {"train": 48, "val": 24},
                "left_out": {},
                "unreadable": {},
                "options": {"val_questions": "reduced"},
            },
        }
        entries = {
            dataset: {
                **entry,
                "space": record_space(SPACES["demo"]),
                **{key: {**entry[key], **new} if key in ("data", "features") else new for key, new in changes.items()},
            }
            for dataset in datasets
        }
        return {
            "schema": STUDY_SCHEMA,
            "name": name,
            "signature": name,
            "signed": {"seed": seed, "datasets": {dataset: {"space": "0123456789ab"} for dataset in datasets}},
            "config": {"datasets": list(datasets), "seed": seed, "data_root": "data", "name": name},
            "datasets": entries,
            "provenance": {"created": "2026-01-02T03:04:05+00:00", "git_commit": "ab" * 20, "torch": "2.15.0"},
            "resumed": [],
        }

    return make


@pytest.fixture(scope="session")
def write_study(
    study_content: Callable[..., dict[str, Any]],
    record: Callable[..., TrialRecord],
    write_trial: Callable[[Location, TrialRecord], None],
) -> Callable[..., StudyPaths]:
    """Write a study of three trials, completed, stopped and failed, whose winner has the given scores of questions."""

    def write(
        folder: Location,
        questions: list[float] | None = None,
        datasets: tuple[str, ...] = ("demo",),
        witness: list[float] | None = None,
        **changes: Any,
    ) -> StudyPaths:
        paths = StudyPaths(folder)
        scores = [0.5, 0.75, 1.0, 0.75] if questions is None else questions
        write_json(paths.study, study_content(folder.name, datasets, **changes))
        for dataset in datasets:
            files = paths.dataset(dataset)
            mean = float(np.mean(scores)) if scores else 0.0
            best = BestEpoch(epoch=2, questions={METRIC: scores}, baselines={}) if scores else None
            last = Status.COMPLETED if scores else Status.STOPPED
            first = mean * (1.5 if changes.get("objective", {}).get("mode") == "min" else 0.5)
            write_trial(files.trials, record(0, last, first, mean, best=best, trial_id=f"{folder.name}0"))
            write_trial(files.trials, record(1, Status.STOPPED, 0.25, trial_id=f"{folder.name}1"))
            write_trial(files.trials, record(2, Status.FAILED, error="it broke", trial_id=f"{folder.name}2"))
            if witness is not None:
                write_baselines(files.baselines, {"nearest_class_mean": {METRIC: witness}})
        return paths

    return write


@pytest.fixture(scope="session")
def write_final() -> Callable[..., None]:
    """Write the final training of a winner, by the scores of each question for each seed."""

    def write(paths: StudyPaths, trial_id: str, seeds: list[list[float]], *, keep: bool = True) -> None:
        files = paths.dataset("demo")
        scores = [{METRIC: np.array(of_seed)} for of_seed in seeds]
        content = {
            "schema": "pan-study/final/1",
            "dataset": "demo",
            "split": "test",
            "seeds": list(range(len(seeds))),
            "metrics": model_metrics(scores),
            "baselines": {},
            "paired": {},
            "questions": {METRIC: len(seeds[0])},
            "trial_id": trial_id,
        }
        write_json(files.final_metrics, content)
        if keep:
            questions = as_lists(average_over_seeds(scores))
            write_json(files.final_questions, {"trial_id": trial_id, "questions": questions})

    return write
