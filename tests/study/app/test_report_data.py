"""study/report.py with the study's data: what is refused before anything is made."""

from pathlib import Path

import pytest

from study.app.report_page import report_command


@pytest.mark.parametrize("flag", ["--cache-dir", "--weights"])
def test_flags_of_the_examples_need_the_data(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert report_command([str(tmp_path), flag, "somewhere"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {flag} is for the examples only; give the study's data by --data-root, or leave it out."
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_study_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert report_command([str(tmp_path), "--data-root", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path) in line
    assert list(tmp_path.iterdir()) == []
