"""A study whose output goes to a terminal."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from study.trials.ledger import Status, read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def run_on_a_terminal(words: list[str], cwd: Path) -> tuple[int, str]:
    """Run study/run.py on a terminal and return the exit code and all that it printed."""
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
    except OSError:  # Linux raises it when no process writes to the terminal any more
        return b""


def test_a_study_goes_on_on_a_terminal(done_on_ray: Any, tmp_path: Path):
    """A finished study with more trials on Ray: a line shows progress, and the command ends well."""
    study = done_on_ray.copied(tmp_path / "results")
    code, screen = run_on_a_terminal([*study.words, "--resume", "--num-trials=7"], tmp_path)
    assert code == 0, screen
    assert "resuming study demo" in screen
    assert re.search(r"demo \d/7 \| best 0\.\d{4} \| ", screen)
    assert "demo: best few_shot_accuracy 0." in screen
    records = read_ledger(study.files.trials)
    assert {record.status for record in records} <= {Status.COMPLETED, Status.STOPPED}
    assert [record.number for record in records] == list(range(7))
