"""The code of docs/next-steps.md runs on a study, and its TOML file is one that the command reads."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.app.flags import read_study_config
from study.trials.ledger import read_ledger

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "next-steps.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def here(done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the results of two studies."""
    for name in ("demo", "other"):
        shutil.copytree(done.results.root, tmp_path / "results" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_names_the_page():
    assert "(docs/next-steps.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_pandas_reads_the_trials_exactly(done: Any, here: Path, capsys: pytest.CaptureFixture[str]):
    names = dict[str, Any]()
    exec(blocks("python")[0], names)
    records = read_ledger(done.files.trials)
    trials = names["trials"]
    assert list(trials["trial_id"]) == [record.trial_id for record in records]
    assert list(trials["number"]) == [0, 1, 2, 3, 4]
    assert list(trials["wall_s"]) == [record.wall_s for record in records]
    assert list(trials["config.learning_rate"]) == [record.config["learning_rate"] for record in records]
    assert (trials["ended"] >= trials["started"]).all()
    assert "siamese" in capsys.readouterr().out


def test_importance_says_that_trials_are_too_few(here: Path, capsys: pytest.CaptureFixture[str]):
    names = dict[str, Any]()
    exec(blocks("python")[1], names)
    assert names["importance"].num_completed + names["importance"].num_stopped <= 5
    assert "Too few trials to say" in capsys.readouterr().out


def test_two_studies_are_compared(here: Path, capsys: pytest.CaptureFixture[str]):
    exec(blocks("python")[2], dict[str, Any]())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["demo", "other"]


def test_the_flags_of_the_file_are_read(tmp_path: Path, flags: Callable[..., list[str]]):
    [text] = blocks("toml")
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    config = read_study_config([*flags(tmp_path), "--config", str(tmp_path / "study.toml"), "--resume"])
    assert (config.study_name, config.seed, config.plans[0].num_trials, config.resume) == ("other", 1, 32, True)
