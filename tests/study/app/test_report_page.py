"""study/report.py, and the page at the end of other commands."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from study.app.report_page import report_command, write_report
from study.storage.files import read_if_exists
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.terminal import Terminal

Write = Callable[..., StudyPaths]


@pytest.fixture
def screen() -> tuple[Terminal, io.StringIO]:
    output = io.StringIO()
    return Terminal(Console(file=output, soft_wrap=True, highlight=False)), output


def test_it_writes_the_page_beside_study_json_in_a_folder_or_a_store(
    anywhere: Location, write_study: Write, capsys: pytest.CaptureFixture[str]
):
    paths = write_study(anywhere / "birds")
    assert report_command([str(paths.root)]) == 0
    assert capsys.readouterr().out == f"{paths.report}\n"
    page = read_if_exists(paths.report, "") or b""
    assert page.startswith(b"<!DOCTYPE html>")
    assert b"Study birds" in page
    assert len(page) < 10e6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "the following arguments are required: results/NAME"),
        (("{folder}",), "holds no study.json; give the folder of a study"),
        (("{folder}", "--output", "x"), "unknown flag or stray word '--output'"),
        (("ftp://bucket/birds",), "is not in a known store"),
        (("{folder}", "--weights", "w"), "--weights is for the examples only; give the study's data by --data-root"),
        (
            ("{folder}", "--cache-dir", "c"),
            "--cache-dir is for the examples only; give the study's data by --data-root",
        ),
        (("{folder}", "--data-root", "{folder}"), "study.json"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert report_command([word.format(folder=tmp_path) for word in words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_ledger_is_one_line(tmp_path: Path, write_study: Write, capsys: pytest.CaptureFixture[str]):
    paths = write_study(tmp_path / "birds")
    damaged = paths.dataset("demo").trials / "birds0" / "status.json"
    Path(str(damaged)).write_text("{}")
    assert report_command([str(paths.root)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str(damaged) in line


def test_an_error_while_the_page_is_made_does_not_lose_the_study(
    tmp_path: Path, write_study: Write, screen: tuple[Terminal, io.StringIO]
):
    paths = write_study(tmp_path / "birds")
    terminal, output = screen
    assert write_report(paths, terminal)
    assert output.getvalue() == ""
    (tmp_path / "birds" / "report.html").unlink()
    (tmp_path / "birds" / "report.html").mkdir()
    assert not write_report(paths, terminal)
    [line] = output.getvalue().splitlines()
    assert line.startswith(f"{paths.report} was not written (")
    assert f"the study is whole, and study/report.py {paths.root} tries again" in line
