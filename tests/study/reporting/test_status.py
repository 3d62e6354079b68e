"""Where a study is, from ledgers written by hand."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from study.config.study_file import STUDY_SCHEMA
from study.reporting.status import describe_status
from study.storage.driver_file import DriverRecord, DriverState, read_driver
from study.storage.files import write_json, write_text
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.storage.times import to_iso
from study.trials.ledger import Status, TrialRecord

BEGUN_S = 1_000_000.0
PART = {
    "num_trials": 4,
    "max_epochs": 9,
    "objective": {"name": "few_shot_accuracy", "mode": "max"},
    "features": {},
    "data": {},
}
STUDY = {
    "schema": STUDY_SCHEMA,
    "name": "birds",
    "signature": "1234",
    "signed": {},
    "datasets": {"cub": PART},
    "provenance": {"created": "2026-01-01", "git_commit": "abcdef"},
}


@pytest.fixture
def results(tmp_path: Path) -> StudyPaths:
    write_json(tmp_path / "study.json", STUDY)
    return StudyPaths(tmp_path)


@pytest.fixture
def put(
    results: StudyPaths, record: Callable[..., TrialRecord], write_trial: Callable[[Path, TrialRecord], None]
) -> Callable[..., None]:
    """Write a trial whose last epoch came so many seconds after the study began."""

    def write(number: int, status: Status, *values: float, after_s: float, **changes: Any) -> None:
        one = record(number, status, *values, **changes)
        write_trial(results.dataset("cub").trials, one)
        folder = results.dataset("cub").trials / one.trial_id
        os.utime(folder / "config.json", (BEGUN_S, BEGUN_S))
        if values:
            os.utime(folder / "history.jsonl", (BEGUN_S + after_s, BEGUN_S + after_s))

    return write


@pytest.fixture
def drive(results: StudyPaths) -> Callable[..., None]:
    """Write the driver.json of another machine, begun with the study, with the last heartbeat so many seconds later."""

    def write(after_s: float, **changes: Any) -> None:
        with DriverRecord(results, "uv run study/run.py --name 'my birds' --resume", clock=lambda: BEGUN_S):
            running = read_driver(results)
        assert running is not None
        of_elsewhere = {"host": "node7", "pid": 42, "process": "another/1", "heartbeat": to_iso(BEGUN_S + after_s)}
        write_text(results.driver, running.model_copy(update=of_elsewhere | changes).model_dump_json(by_alias=True))

    return write


def stand(results: StudyPaths, after_s: float) -> list[str]:
    return describe_status(results, lambda: BEGUN_S + after_s)


def test_a_study_that_has_just_begun(results: StudyPaths):
    assert stand(results, 0) == [
        "study birds, begun 2026-01-01 by commit abcdef",
        "not known whether it runs: it has no driver.json and no epoch yet",
        "cub: 0/4 trials, none yet",
    ]


def test_a_study_that_runs(results: StudyPaths, put: Callable[..., None], drive: Callable[..., None]):
    drive(140)
    put(0, Status.COMPLETED, 0.5, 0.75, after_s=100)
    put(1, Status.STOPPED, 0.25, after_s=90)
    put(2, Status.RUNNING, 0.125, 0.0625, after_s=120)
    put(3, Status.RUNNING, after_s=0)
    assert stand(results, 150)[1:] == [
        "running since 1970-01-12T13:46:40+00:00 (2 min 30 s ago), process 42 on node7; last sign of life 10 s ago",
        "cub: 2/4 trials, 1 completed, 1 stopped, 2 running",
        "  best few_shot_accuracy 0.7500 (val), trial trial0, epoch 2",
        "  running: trial trial2, epoch 2/9 written 30 s ago, best 0.1250",
        "  running: trial trial3, epoch 0/9",
        "  last epoch 30 s ago, about 2 min 0 s left",
    ]


def test_a_driver_that_is_silent_was_killed(results: StudyPaths, put: Callable[..., None], drive: Callable[..., None]):
    put(0, Status.RUNNING, 0.5, after_s=100)
    drive(105)
    assert stand(results, 7305)[1:] == [
        "no sign of life since 1970-01-12T13:48:25+00:00 (2 h 0 min ago) of process 42 on node7: probably killed",
        "  resume with: uv run study/run.py --name 'my birds' --resume",
        "cub: 0/4 trials, 1 interrupted",
        "  interrupted: trial trial0, epoch 1/9 written 2 h 0 min ago, best 0.5000",
        "  last epoch 2 h 0 min ago",
    ]


@pytest.mark.parametrize("state", [DriverState.INTERRUPTED, DriverState.FAILED])
def test_a_driver_that_has_ended_says_when_and_why(
    results: StudyPaths, put: Callable[..., None], drive: Callable[..., None], state: DriverState
):
    put(0, Status.RUNNING, 0.5, after_s=100)
    drive(105, state=state, ended=to_iso(BEGUN_S + 105), reason="this is why", folder="/home/me")
    lines = stand(results, 3705)
    assert lines[1] == f"{state} 1970-01-12T13:48:25+00:00 (1 h 0 min ago): this is why"
    assert lines[2] == "  resume in /home/me on node7 with: uv run study/run.py --name 'my birds' --resume"
    assert lines[3] == "cub: 0/4 trials, 1 interrupted"


def test_a_driver_that_is_done_needs_no_command(results: StudyPaths, drive: Callable[..., None]):
    drive(105, state=DriverState.DONE, ended=to_iso(BEGUN_S + 105))
    assert stand(results, 105)[1:] == ["done 1970-01-12T13:48:25+00:00 (0 s ago)", "cub: 0/4 trials, none yet"]


@pytest.mark.parametrize(
    ("heartbeat_s", "words"),
    [
        (30, "last sign of life 0 s ago"),  # the clock of its machine is ahead
        (9000, "last sign of life 1970-01-12T16:16:40+00:00, which is in the future by the clock of this machine"),
    ],
)
def test_clocks_of_two_machines_may_differ(
    results: StudyPaths, drive: Callable[..., None], heartbeat_s: float, words: str
):
    drive(heartbeat_s)
    assert stand(results, 10)[1].endswith(words)


def test_a_driver_of_this_machine_is_looked_up(results: StudyPaths):
    with DriverRecord(results, clock=lambda: BEGUN_S):
        assert stand(results, 10)[1].endswith("; last sign of life 10 s ago")
        assert stand(results, 4000)[1].endswith(
            "; no sign of life for 1 h 6 min, although the process exists: it may be suspended"
        )


def test_without_a_driver_file_the_last_epoch_counts(results: StudyPaths, put: Callable[..., None]):
    """Studies of version 0.1 have no driver.json."""
    put(0, Status.RUNNING, 0.5, after_s=100)
    assert stand(results, 130)[1:3] == [
        "running, or interrupted since: last epoch 30 s ago (no driver.json, judged by the files of the trials)",
        "cub: 0/4 trials, 1 running",
    ]
    assert stand(results, 7300)[1] == (
        "no epoch for 2 h 0 min: probably interrupted; the same command with --resume continues it "
        "(no driver.json, judged by the files of the trials)"
    )


def test_a_study_that_is_done(results: StudyPaths, put: Callable[..., None]):
    for number in range(4):
        put(number, Status.COMPLETED, 0.5, after_s=100)
    assert stand(results, 1e6)[1:] == [
        "done: every trial has ended",
        "cub: 4/4 trials, 4 completed",
        "  best few_shot_accuracy 0.5000 (val), trial trial0, epoch 1",
    ]


def test_no_study_is_told(tmp_path: Path):
    with pytest.raises(
        UserError, match=r"none: holds no study\.json; give the folder of a study, such as results/demo"
    ):
        describe_status(StudyPaths(tmp_path / "none"))


def test_a_study_in_a_store_tells_the_same(
    bucket: Location, record: Callable[..., TrialRecord], write_trial: Callable[[Any, TrialRecord], None]
):
    results = StudyPaths(bucket / "birds")
    write_json(results.study, STUDY)
    write_trial(results.dataset("cub").trials, record(0, Status.RUNNING, 0.5, 0.25))
    with DriverRecord(results):
        lines = describe_status(results)
    assert lines.pop(1).startswith("running since ")
    assert lines[1] == "cub: 0/4 trials, 1 running"
    assert re.fullmatch(r"  running: trial trial0, epoch 2/9 written \d+ s ago, best 0\.5000", lines[2])
    assert re.fullmatch(r"  last epoch \d+ s ago", lines[3])


@pytest.mark.parametrize("module", ["study.reporting.status", "study.reporting.collation", "study.trials.ledger"])
def test_reading_a_study_loads_neither_torch_nor_ray(module: str):
    code = f"import sys, {module}; print(sorted({{'torch', 'ray', 's3fs'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
