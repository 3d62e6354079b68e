"""driver.json at the start of a study, while its driver lives, and after every way to end."""

import errno
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from study.storage.driver_file import (
    SILENT_AFTER_S,
    Driver,
    DriverRecord,
    DriverState,
    check_no_other_driver,
    find_process,
    finish_driver,
    is_alive,
    is_over,
    process_exists,
    read_driver,
)
from study.storage.files import write_text
from study.storage.location import Location
from study.storage.object_store import StoreError
from study.storage.paths import StudyPaths

COMMAND = "uv run study/run.py --name 'two words' --resume"


def read(results: StudyPaths) -> Driver:
    driver = read_driver(results)
    assert driver is not None
    return driver


def test_a_study_that_runs_says_so_and_then_that_it_is_done(anywhere: Location):
    results = StudyPaths(anywhere)
    assert read_driver(results) is None
    with DriverRecord(results, COMMAND):
        running = read(results)
        assert (running.state, running.ended, running.resume) == (DriverState.RUNNING, None, COMMAND)
        assert is_alive(running, time.time())
        assert not is_over(running, time.time())
    done = read(results)
    assert (done.state, done.reason, done.ended) == (DriverState.DONE, "", done.heartbeat)
    assert is_over(done, time.time())


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (KeyboardInterrupt(), DriverState.INTERRUPTED, "Ctrl-C"),
        (KeyboardInterrupt("SIGHUP"), DriverState.INTERRUPTED, "SIGHUP"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), DriverState.INTERRUPTED, "its output was closed"),
        (OSError(errno.ENOSPC, "No space left", "/a/b"), DriverState.FAILED, "no space left on the disk (/a/b)"),
        (StoreError("s3://b/k: cannot be written (no answer)"), DriverState.FAILED, "s3://b/k: cannot be written"),
        (UserError("a rule\nwas broken"), DriverState.FAILED, "a rule was broken"),
        (RuntimeError("ours"), DriverState.FAILED, "RuntimeError: ours"),
        (SystemExit(3), DriverState.FAILED, "SystemExit: 3"),
    ],
    ids=repr,
)
def test_every_error_is_an_end_and_goes_through(tmp_path: Path, error: BaseException, state: DriverState, reason: str):
    with pytest.raises(type(error), match=f"^{re.escape(str(error))}$") as raised, DriverRecord(StudyPaths(tmp_path)):
        raise error
    assert raised.value is error
    assert read(StudyPaths(tmp_path)).state is state
    assert read(StudyPaths(tmp_path)).reason.startswith(reason)


def test_an_error_after_a_signal_is_an_interrupt(tmp_path: Path):
    def stop() -> None:
        try:
            raise KeyboardInterrupt("SIGTERM")
        finally:
            raise RuntimeError("lost its worker")

    with pytest.raises(RuntimeError, match="lost its worker"), DriverRecord(StudyPaths(tmp_path)):
        stop()
    assert (read(StudyPaths(tmp_path)).state, read(StudyPaths(tmp_path)).reason) == (
        DriverState.INTERRUPTED,
        "SIGTERM",
    )


def test_a_limit_is_an_end_that_the_block_states(tmp_path: Path):
    with DriverRecord(StudyPaths(tmp_path)) as record:
        record.ends(DriverState.INTERRUPTED, "the time was up")
    assert read(StudyPaths(tmp_path)).state is DriverState.INTERRUPTED
    assert read(StudyPaths(tmp_path)).reason == "the time was up"


def test_an_end_that_cannot_be_written_hides_no_cause(tmp_path: Path):
    results = StudyPaths(tmp_path / "study")

    def fail() -> None:
        results.driver.unlink()
        (tmp_path / "study").rmdir()
        (tmp_path / "study").touch()  # a file in place of the folder: root may write everywhere else
        raise RuntimeError("the cause")

    with pytest.raises(RuntimeError, match="the cause"), DriverRecord(results):
        fail()
    assert (tmp_path / "study").is_file()


def test_the_heart_beats_while_the_driver_lives(anywhere: Location):
    results = StudyPaths(anywhere)
    with DriverRecord(results, interval_s=0.01):
        first = read(results).heartbeat
        end_s = time.monotonic() + 60
        while read(results).heartbeat == first:
            assert time.monotonic() < end_s
        assert read(results).state is DriverState.RUNNING
    ended = results.driver.read_bytes()
    time.sleep(0.05)
    assert results.driver.read_bytes() == ended


@pytest.fixture
def driver(tmp_path: Path) -> Callable[..., Driver]:
    """The driver.json of this process while it runs, with changes."""

    def make(**changes: Any) -> Driver:
        with DriverRecord(StudyPaths(tmp_path), clock=lambda: 1000.0):
            return read(StudyPaths(tmp_path)).model_copy(update=changes)

    return make


def test_a_process_of_this_machine_is_looked_up(driver: Callable[..., Driver]):
    assert process_exists(driver()) is True
    assert is_alive(driver(), 1e9)  # such as on a laptop that slept
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        of_child = driver(pid=child.pid, process=find_process(child.pid))
        assert is_alive(of_child, 1e9)
        child.kill()
        end_s = time.monotonic() + 60
        while process_exists(of_child):  # it is a zombie then, since nobody has waited for it
            assert time.monotonic() < end_s
    assert not is_alive(of_child, 1000.0)


def test_another_process_with_the_same_id_is_another(driver: Callable[..., Driver]):
    machine = driver().process.rpartition("/")[0]
    assert not is_alive(driver(process=f"{machine}/1"), 1000.0)


@pytest.mark.parametrize(
    ("now_s", "alive"),
    [(1000.0, True), (1000.0 + SILENT_AFTER_S, True), (1001.0 + SILENT_AFTER_S, False), (0.0, True)],
)
def test_on_another_machine_the_heartbeat_counts(driver: Callable[..., Driver], now_s: float, alive: bool):
    elsewhere = driver(process="another machine/1")
    assert process_exists(elsewhere) is None
    assert is_alive(elsewhere, now_s) is alive


def test_a_study_that_another_process_runs_is_refused(tmp_path: Path, driver: Callable[..., Driver]):
    results = StudyPaths(tmp_path)

    def write(**changes: Any) -> None:
        write_text(results.driver, driver(**changes).model_dump_json(by_alias=True))

    check_no_other_driver(StudyPaths(tmp_path / "new"))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        of_child = {"pid": child.pid, "process": find_process(child.pid)}
        write(**of_child)
        message = rf"{tmp_path}: process {child.pid} has been running this study since 1970-01-01T00:16"
        with pytest.raises(UserError, match=message):
            check_no_other_driver(results)
        for harmless in (of_child | {"state": DriverState.INTERRUPTED}, {"process": "another machine/1"}, {}):
            write(**harmless)
            check_no_other_driver(results)
        child.kill()
    write(**of_child)
    check_no_other_driver(results)


def test_processes_that_started_at_once_are_told_apart_by_their_id(
    tmp_path: Path, driver: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch
):
    started_at_once = find_process(os.getpid())
    monkeypatch.setattr("study.storage.driver_file.find_process", lambda _: started_at_once)
    results = StudyPaths(tmp_path)
    for pid, refused in ((os.getpid(), False), (os.getpid() + 1, True)):
        write_text(results.driver, driver(pid=pid, process=started_at_once).model_dump_json(by_alias=True))
        with pytest.raises(UserError, match="has been running") if refused else nullcontext():
            check_no_other_driver(results)


@pytest.mark.parametrize("state", DriverState)
def test_a_study_whose_trials_have_all_ended_is_done(tmp_path: Path, state: DriverState):
    results = StudyPaths(tmp_path)
    with DriverRecord(results) as record:
        record.ends(state, "a reason")
    gone = read(results).model_copy(update={"process": "another machine/1", "heartbeat": "2000-01-01T00:00:00Z"})
    write_text(results.driver, gone.model_dump_json(by_alias=True))
    finish_driver(results, time.time())
    assert (read(results).state, read(results).ended) == (DriverState.DONE, gone.ended)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "lacks state, started, heartbeat, folder, host, pid, process"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, message: str):
    write_text(StudyPaths(tmp_path).driver, text)
    with pytest.raises(UserError, match=rf"driver\.json: {message}.*; remove it\."):
        read_driver(StudyPaths(tmp_path))


@pytest.mark.parametrize("time_text", ["yesterday", "", "2026-13-01"])
def test_a_time_must_be_a_time(tmp_path: Path, time_text: str, driver: Callable[..., Driver]):
    damaged = driver(heartbeat=time_text)
    write_text(StudyPaths(tmp_path).driver, damaged.model_dump_json(by_alias=True))
    with pytest.raises(UserError, match=r"driver\.json: heartbeat .*; remove it\."):
        read_driver(StudyPaths(tmp_path))
