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
from study.storage.files import write_json
from study.storage.location import Location
from study.storage.paths import StudyPaths
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


def stand(results: StudyPaths, after_s: float) -> list[str]:
    return describe_status(results, lambda: BEGUN_S + after_s)


def test_a_study_that_has_just_begun(results: StudyPaths):
    assert stand(results, 0) == ["study birds, begun 2026-01-01 by commit abcdef", "cub: 0/4 trials, none yet"]


def test_a_study_that_runs(results: StudyPaths, put: Callable[..., None]):
    put(0, Status.COMPLETED, 0.5, 0.75, after_s=100)
    put(1, Status.STOPPED, 0.25, after_s=90)
    put(2, Status.RUNNING, 0.125, 0.0625, after_s=120)
    put(3, Status.RUNNING, after_s=0)
    assert stand(results, 150)[1:] == [
        "cub: 2/4 trials, 1 completed, 1 stopped, 2 running",
        "  best few_shot_accuracy 0.7500 (val), trial trial0, epoch 2",
        "  running: trial trial2, epoch 2/9 written 30 s ago, best 0.1250",
        "  running: trial trial3, epoch 0/9",
        "  last epoch 30 s ago, about 2 min 0 s left",
    ]


def test_a_study_that_was_cut_is_asked_about(results: StudyPaths, put: Callable[..., None]):
    put(0, Status.RUNNING, 0.5, after_s=100)
    assert stand(results, 7300)[-1] == (
        "  no epoch for 2 h 0 min: if the study was interrupted, the same command with --resume continues it"
    )


def test_a_study_that_is_done(results: StudyPaths, put: Callable[..., None]):
    for number in range(4):
        put(number, Status.COMPLETED, 0.5, after_s=100)
    assert stand(results, 1e6)[1:] == [
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
    lines = describe_status(results)
    assert lines[1] == "cub: 0/4 trials, 1 running"
    assert re.fullmatch(r"  running: trial trial0, epoch 2/9 written \d+ s ago, best 0\.5000", lines[2])
    assert re.fullmatch(r"  last epoch \d+ s ago", lines[3])


@pytest.mark.parametrize("module", ["study.reporting.status", "study.reporting.collation", "study.trials.ledger"])
def test_reading_a_study_loads_neither_torch_nor_ray(module: str):
    code = f"import sys, {module}; print(sorted({{'torch', 'ray', 's3fs'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
