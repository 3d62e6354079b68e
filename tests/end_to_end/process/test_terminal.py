"""A study that somebody watches: its screen is a terminal."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from study.storage.paths import StudyPaths
from study.trials.ledger import Status, read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def run_on_a_terminal(words: list[str], cwd: Path) -> tuple[int, str]:
    """Run study/run.py with a terminal for its screen; gives the exit code and all that was on it."""
    ours, theirs = pty.openpty()
    script = Path(__file__).parents[3] / "study" / "run.py"
    with subprocess.Popen([sys.executable, script, *words], stdout=theirs, stderr=theirs, cwd=cwd) as process:
        os.close(theirs)
        seen = bytearray()
        while part := read(ours):
            seen += part
    os.close(ours)
    return process.returncode, seen.decode()


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that nobody writes to it any more
        return b""


def test_a_study_on_a_terminal_shows_a_living_line_and_ends_well(flags: Callable[..., list[str]], tmp_path: Path):
    words = flags(tmp_path / "results", "--num-trials=2", "--max-epochs=2", "--grace-epochs=1")
    code, screen = run_on_a_terminal(words, tmp_path)
    assert code == 0, screen
    assert re.search(r"demo: \d/2 trials, (\d|none) ", screen)
    assert "demo: best few_shot_accuracy 0." in screen
    records = read_ledger(StudyPaths(tmp_path / "results" / "demo").dataset("demo").trials)
    assert {record.status for record in records} <= {Status.COMPLETED, Status.STOPPED}
    assert len(records) == 2
