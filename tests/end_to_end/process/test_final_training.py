"""A final training in several processes: the numbers of one process, and no process or file left when it is ended."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.app.commands import final_command

pytestmark = pytest.mark.slow


@pytest.fixture
def words(done: Any, data_root: Path, cache_dir: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Flags of a final training in two processes, whose cache holds nothing but the features."""
    shutil.copytree(cache_dir / "features", tmp_path / "cache" / "features")

    def make(name: str, *more: str) -> list[str]:
        folders = ["--data-root", data_root, "--cache-dir", tmp_path / "cache", "--output", tmp_path / name]
        return [str(word) for word in [done.files.best_config, *folders, "--seeds=2", "--jobs=2", *more]]

    return make


def numbers(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name != "provenance"}


def test_two_processes_have_the_numbers_of_one(
    run_here: Callable[..., Any], words: Callable[..., list[str]], tmp_path: Path
) -> None:
    two = run_here(*words("two"), command=final_command)
    assert (two.code, two.err) == (0, "")
    shutil.rmtree(tmp_path / "cache" / "paper_setting")
    one = run_here(*words("one", "--jobs=1"), command=final_command)
    assert numbers(tmp_path / "two") == numbers(tmp_path / "one")
    model, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("two", "one"))
    assert model == again
    trained = [line for line in one.out.splitlines() if ": trained " in line]
    assert sorted(trained) == sorted(line for line in two.out.splitlines() if ": trained " in line)
    assert trained[-2:] == sorted(trained[-2:]), "seeds one after another"
    [time] = [line for line in two.out.splitlines() if line.startswith("time: ")]
    assert " in 2 processes, which overlap: baseline paper_setting " in time


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_stays_when_it_is_ended(
    commands: Any, words: Callable[..., list[str]], tmp_path: Path, number: signal.Signals
) -> None:
    started = commands.start("final", *words("ended"))
    started.wait_until(lambda: len(started.descendants()) >= 4)  # the workers, and two processes of multiprocessing
    below = started.descendants()
    os.killpg(started.process.pid, number) if number == signal.SIGINT else started.process.kill()
    ended = started.finish()  # the output ends with the last process that has it open
    if number == signal.SIGINT:
        assert (ended.code, ended.err.count("\n")) == (130, 1)
        assert ended.err == "interrupted; run it again; if the folder final/ exists already, it is complete\n"
    deadline_s = time.monotonic() + 20  # a process closes its output some moments before it is gone
    while [pid for pid in below if is_there(pid)] and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not [pid for pid in below if is_there(pid)]
    assert not (tmp_path / "ended").exists()


def is_there(pid: int) -> bool:
    """Whether a process exists that is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
