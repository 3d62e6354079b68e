import importlib.util
import platform
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from study.config import provenance as provenance_module
from study.config.provenance import git_commit, provenance


def test_versions_are_those_that_run():
    made = provenance()
    assert made["python"] == platform.python_version()
    for library in ("torch", "torchvision", "ray", "optuna", "numpy"):
        assert made[library] == version(library)
    assert made["pan_study"] == version("pan-study")
    assert {type(value) for value in made.values()} == {str}


def test_the_time_is_now_with_its_zone():
    created = datetime.fromisoformat(provenance()["created"])
    assert created.utcoffset() == timedelta(0)
    assert timedelta(0) <= datetime.now(UTC) - created < timedelta(minutes=1)


def test_the_commit_is_the_checkout_s(pytestconfig: pytest.Config):
    if not (pytestconfig.rootpath / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git checkout")

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=pytestconfig.rootpath, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    commit = git_commit()
    assert commit.removesuffix("+changes") == git("rev-parse", "HEAD")
    assert commit.endswith("+changes") == bool(git("status", "--porcelain", "--untracked-files=no"))


def test_the_commit_of_a_checkout_around_the_code_is_not_the_code_s(tmp_path: Path):
    if shutil.which("git") is None:
        pytest.skip("no git")

    def git(*words: str) -> str:
        by = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        return subprocess.run(["git", *by, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    copied = Path(shutil.copy(provenance_module.__file__, tmp_path))
    spec = importlib.util.spec_from_file_location("copied_provenance", copied)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    git("init")
    git("commit", "--allow-empty", "--message", "not this code")
    assert copy.git_commit() == "unknown"
    git("add", copied.name)
    git("commit", "--message", "this code")
    assert copy.git_commit() == git("rev-parse", "HEAD").strip()
    copied.write_text(copied.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert copy.git_commit() == git("rev-parse", "HEAD").strip() + "+changes"


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() == "unknown"


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert git_commit() == "unknown"
