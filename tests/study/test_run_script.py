"""study/run.py where its package is not: as `ray submit` copies it to a machine that is not set up."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.nodes.deployment import PACKAGE

BASE = getattr(sys, "_base_executable", sys.executable)
pytestmark = pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="this Python is in no environment of its own")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copy(PACKAGE / "run.py", tmp_path / "run.py")
    return tmp_path


def run(python: str, home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    # Which checkout the environment has installed is no matter here; what the package needs, only the environment has.
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE.parent)}
    return subprocess.run(
        [python, str(home / "run.py"), *words], env=environment, capture_output=True, text=True, check=False
    )


def test_a_machine_that_is_not_set_up_is_one_line(home: Path):
    done = run(BASE, home, "--dry-run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {BASE} has no PAN Study (No module named ")
    assert "`ray up cluster/FILE.yaml`" in done.stderr
    assert "`make setup`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_environment_that_ray_up_made_is_found_without_a_path(home: Path):
    (home / "pan-study").mkdir()
    (home / "pan-study" / ".venv").symlink_to(Path(sys.prefix))
    done = run(BASE, home, "--frog")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first == f"{BASE} has no PAN Study: {home}/pan-study/.venv/bin/python runs it"
    assert second == "error: unknown flag or stray word '--frog'; --help shows every flag."


def test_an_environment_without_the_package_is_not_tried_again_and_again(home: Path):
    made = home / "pan-study" / ".venv"
    subprocess.run([BASE, "-m", "venv", "--without-pip", made], check=True)
    done = run(BASE, home, "--dry-run")
    assert done.returncode == 2
    assert done.stderr.count(" has no PAN Study: ") == 1
    assert done.stderr.count("error: ") == 1
