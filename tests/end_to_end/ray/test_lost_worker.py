"""A trial whose worker is killed goes on from its checkpoint; one whose worker is killed too often has failed."""

import csv
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.storage.paths import StudyPaths
from study.trials.ledger import TrialRecord, read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

WORKERS = ("ray::RayTrial", "ray::ResourceTrainable")
"""Names of a trial's process between epochs and during one."""


@pytest.fixture(scope="module")
def study(
    commands: Any,
    flags: Callable[..., list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    epochs_of: Callable[[Path], list[int]],
) -> dict[str, Any]:
    """A study of two trials that may fail once each: the worker of the first is killed twice, that of the second once.

    `before` holds the epochs of each trial when its worker was killed for the last time.
    """
    output = tmp_path_factory.mktemp("lost")
    results = StudyPaths(output / "demo")
    files = results.dataset("demo")
    words = ["--scheduler=none", "--max-epochs=20", "--num-trials=2", "--max-failures=1", "--max-concurrent=1"]
    started = commands.start("run", *flags(output, *words))
    before: dict[int, list[int]] = {}
    killed: list[int] = []

    def worker() -> list[int]:
        return [pid for pid, name in started.descendants().items() if name.startswith(WORKERS) and pid not in killed]

    def folder_of(number: int) -> Path | None:
        return next(
            (files.trials / record.trial_id for record in read_ledger(files.trials) if record.number == number), None
        )

    def has_trained(number: int, epochs: int) -> bool:
        folder = folder_of(number)
        return folder is not None and len(epochs_of(folder)) >= epochs

    for number in (0, 0, 1):
        epochs = len(before.get(number, [])) + 2
        started.wait_until(lambda: bool(worker()))  # sought first: listing processes takes as long as some epochs
        [pid] = worker()
        started.wait_until(lambda number=number, epochs=epochs: has_trained(number, epochs))
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
        folder = folder_of(number)
        assert folder is not None
        before[number] = epochs_of(folder)
        assert not (folder / "status.json").exists(), f"ended before its worker was killed, after {before[number]}"
    return {"results": results, "files": files, "before": before, "finished": started.finish()}


@pytest.fixture(scope="module")
def records(study: dict[str, Any]) -> list[TrialRecord]:
    return read_ledger(study["files"].trials)


def test_the_study_goes_on_to_its_end(
    study: dict[str, Any], states: Callable[[StudyPaths], dict[str, TrialState]]
) -> None:
    assert (study["finished"].code, study["finished"].err) == (0, "")
    assert list(states(study["results"]).values()) == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_trial_whose_worker_dies_goes_on_from_its_checkpoint(
    study: dict[str, Any],
    records: list[TrialRecord],
    train_alone: Callable[[Any], Any],
    timeless: Callable[[Any], list[dict[str, Any]]],
    check_whole: Callable[[Any], None],
) -> None:
    check_whole(records[1])
    assert len(study["before"][1]) < len(records[1].history)
    alone = train_alone(records[1])
    assert timeless(records[1]) == timeless(alone)
    assert records[1].best == alone.best


def test_a_trial_whose_worker_dies_too_often_has_failed(study: dict[str, Any], records: list[TrialRecord]) -> None:
    row = next(csv.DictReader(study["files"].trials_table.read_text().splitlines()))
    assert (row["status"], len(row["error"].splitlines())) == ("failed", 1)
    assert re.match(r"given up after 2 failures: .*worker (process has )?died", row["error"])
    assert [epoch["epoch"] for epoch in records[0].history][: len(study["before"][0])] == study["before"][0]
