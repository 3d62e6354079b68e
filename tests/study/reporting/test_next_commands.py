"""The commands that may follow are the most useful ones, and each is right when it is typed."""

import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from upath import UPath

from pan_model.command_line import OneLineParser
from pan_model.scores import Interval
from study.config.study_config import StudyConfig
from study.reporting.comparison import MethodScores
from study.reporting.next_commands import commands_after_final, find_pair, next_commands
from study.reporting.summary import DatasetSummary
from study.trials.ledger import Status, TrialRecord

VAL = Interval(0.5, 0.4, 0.6)
FOLDERS = {"demo": "demo", "cub": "CUB_200_2011"}
UV = 'uv() { for word in "$@"; do printf "%s\\n" "$word"; done; echo; }\n'
"""In place of uv: prints its words, a line each, and an empty line."""


@pytest.fixture
def config(study_config: Callable[..., StudyConfig], tmp_path: Path) -> StudyConfig:
    """A study of two datasets, with spaces and quotes in every path, and the files that it leaves."""
    folder = tmp_path / "it's mine"
    config = study_config(
        datasets=("demo", "cub"), data_root=folder / "data $1", output=folder / "my results", cache_dir=folder / "c d"
    )
    for dataset, name in FOLDERS.items():
        images = config.data_root / name / "images" / "class 1"
        images.mkdir(parents=True)
        for file in ("b.png", "a.JPG", ".hidden.png"):
            (images / file).touch()
        files = config.results.dataset(dataset)
        files.folder.mkdir(parents=True)
        files.best_config.touch()
        files.journal.touch()
    config.results.tensorboard.mkdir()
    config.results.report.touch()
    config.results.study.touch()
    return config


@pytest.fixture
def summary(record: Callable[..., TrialRecord], empty_summary: DatasetSummary) -> Callable[..., DatasetSummary]:
    """The summary of a dataset, won or not, tested or not."""

    def make(*, won: bool = True, tested: bool = False) -> DatasetSummary:
        best = (record(0, Status.COMPLETED, 0.5), 0.5, 1) if won else None
        return replace(
            empty_summary, best=best, scores=[MethodScores(method="PAN", val=VAL, test=VAL if tested else None)]
        )

    return make


@pytest.fixture
def typed(parser_of: Callable[[str], tuple[OneLineParser, str]]) -> Callable[[list[str]], list[str]]:
    """Type commands into a shell, let the programs' own parsers read the words, and return the programs."""

    def type_them(commands: list[str]) -> list[str]:
        done = subprocess.run(
            ["sh", "-c", UV + "\n".join(commands)], capture_output=True, text=True, check=True, timeout=20
        )
        programs: list[str] = []
        for call in done.stdout.strip().split("\n\n"):
            first, program, *words = call.splitlines()
            assert first == "run"
            programs.append(program)
            if program.startswith("study/"):
                parsed = vars(parser_of(program)[0].parse(words))
                for name in ("best_config", "data_root", "final", "folder"):
                    assert parsed.get(name) is None or Path(parsed[name]).exists(), call
            elif program == "python":
                assert words[:2] == ["-m", "webbrowser"]
                assert Path(unquote(urlparse(words[2]).path)).is_file()
            else:
                assert Path(words[-1]).exists()
        return programs

    return type_them


Typed = Callable[[list[str]], list[str]]
Summary = Callable[..., DatasetSummary]


def test_after_a_search_they_are_the_report_the_final_training_and_the_trials(
    config: StudyConfig, summary: Summary, typed: Typed
):
    commands = next_commands(config, {"demo": summary()})
    assert typed(commands) == ["python", "study/final.py", "tensorboard"]
    assert shlex.split(commands[1])[3] == str(config.results.dataset("demo").best_config)


def test_the_final_trainings_of_several_datasets_are_one_command(config: StudyConfig, summary: Summary, typed: Typed):
    commands = next_commands(config, {"demo": summary(), "cub": summary()})
    assert len(commands) == 3
    assert typed(commands) == ["python", "study/final.py", "study/final.py", "tensorboard"]
    one_won = next_commands(config, {"demo": summary(), "cub": summary(won=False)})
    assert typed(one_won) == ["python", "study/final.py", "tensorboard"]


def test_without_a_winner_they_show_what_happened(config: StudyConfig, summary: Summary, typed: Typed):
    commands = next_commands(config, {"demo": summary(won=False), "cub": summary(won=False)})
    assert typed(commands) == ["python", "tensorboard", "optuna-dashboard"]


def test_after_the_final_training_they_use_the_model(config: StudyConfig, summary: Summary, typed: Typed):
    final = config.results.dataset("cub").final_metrics.parent
    final.mkdir()
    commands = next_commands(config, {"cub": summary(tested=True)})
    assert typed(commands) == ["python", "study/explain.py", "study/index.py"]
    after = commands_after_final(final, config.data_root, "cub", config.results.report)
    assert after == [*commands[1:], commands[0]]
    images = config.data_root / "CUB_200_2011" / "images" / "class 1"
    assert shlex.split(commands[1])[-2:] == [str(images / "a.JPG"), str(images / "b.png")]
    (final.parent / "index").mkdir()
    commands = next_commands(config, {"cub": summary(tested=True)})
    assert typed(commands) == ["python", "study/explain.py", "study/query.py"]


def test_what_is_not_there_is_in_no_command(config: StudyConfig, summary: Summary, typed: Typed):
    config.results.report.unlink()
    assert typed(next_commands(config, {"demo": summary()}))[0] == "study/report.py"
    assert commands_after_final(config.output / "none", config.data_root, "demo", config.results.report) == []
    assert find_pair(config.data_root / "nowhere") is None


def test_nothing_began(study_config: Callable[..., StudyConfig], summary: Summary):
    assert next_commands(study_config(), {"demo": summary(won=False)}) == []


def test_results_in_a_store_are_copied_first(summary: Summary, study_config: Callable[..., StudyConfig]):
    config = study_config(output=UPath("memory://bucket/results"), name="n")
    config.results.root.mkdir(parents=True)
    config.results.report.write_text("x")
    commands = next_commands(config, {"demo": summary()})
    assert commands[0] == f"uv run study/collate.py {config.results.root} --copy copies/n"
    assert commands[1] == f"uv run python -m webbrowser {(Path('copies') / 'n' / 'report.html').absolute().as_uri()}"
    assert commands[2].startswith(f"uv run study/final.py {config.results.root}/demo/best_config.json ")
