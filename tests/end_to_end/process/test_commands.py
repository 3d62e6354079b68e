"""The scripts of study/ as processes: exit codes, what is on stdout and on stderr."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("words", "plan", "message"),
    [
        (["--no-such-flag"], "", "error: unknown flag or stray word '--no-such-flag'"),
        (["--dataset", "cub"], "cub: 64 trials of up to 20 epochs; results go to ", "CUB_200_2011: no such folder; "),
    ],
)
def test_a_study_that_cannot_begin_ends_with_2_and_one_line(
    commands: Any, flags: Callable[..., list[str]], tmp_path: Path, words: list[str], plan: str, message: str
) -> None:
    result = commands.run("run", *flags(tmp_path / "results"), *words)
    assert result.code == 2
    assert result.out == (f"{plan}{tmp_path / 'results' / 'cub'}\n" if plan else "")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["collate", "status"])
def test_a_folder_that_is_no_study_is_refused(commands: Any, tmp_path: Path, command: str) -> None:
    refused = commands.run(command, tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"error: {tmp_path}: holds no study.json; give the folder of a study, such as results/demo.\n"
    assert not list(tmp_path.iterdir())


def test_a_missing_best_config_is_refused(commands: Any, tmp_path: Path) -> None:
    file = tmp_path / "best_config.json"
    refused = commands.run("final", file)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"error: {file}: cannot be read")
    assert refused.err.count("\n") == 1


def test_a_finished_study_says_so(commands: Any, done: Any, tmp_path: Path) -> None:
    study = done.copied(tmp_path / "results")
    again = commands.run("run", *study.words, "--resume")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("study demo is done: every trial has run.\n")


def test_a_finished_study_is_collated(commands: Any, done: Any, tmp_path: Path) -> None:
    study = done.copied(tmp_path / "results")
    study.results.summary.unlink()
    again = commands.run("collate", study.results.root)
    assert (again.code, again.err) == (0, "")
    assert study.results.summary.read_bytes() == done.results.summary.read_bytes()
