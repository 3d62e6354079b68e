"""study/compare.py: exit codes, files, and what it refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from study.app.compare_command import FILES, compare_command
from study.storage.files import exists
from study.storage.location import Location
from study.storage.paths import StudyPaths

Write = Callable[..., StudyPaths]
WEAK, STRONG = [0.5, 0.25, 0.5, 0.75, 0.5, 0.25], [0.75, 0.5, 0.75, 1.0, 0.75, 0.75]


@pytest.fixture
def studies(tmp_path: Path, write_study: Write) -> list[str]:
    return [str(write_study(tmp_path / name, scores).root) for name, scores in (("a", WEAK), ("b", STRONG))]


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert compare_command(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.strip()


def test_without_output_a_comparison_is_printed_only(
    studies: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = sorted(tmp_path.rglob("*"))
    assert compare_command(studies) == 0
    out = capsys.readouterr().out
    assert out.startswith("Comparison of studies\n")
    assert "made:" not in out
    assert sorted(tmp_path.rglob("*")) == before


def test_files_are_written_and_a_comparison_is_replaced(
    studies: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = [*studies, "--output", str(tmp_path / "comparison")]
    assert compare_command(words) == 0
    written = {path.name: path.read_text() for path in (tmp_path / "comparison").iterdir()}
    assert set(written) == set(FILES)
    assert compare_command([*reversed(studies), *words[2:]]) == 0
    assert {path.name for path in (tmp_path / "comparison").iterdir()} == set(FILES)
    assert (tmp_path / "comparison" / "comparison.csv").read_text() != written["comparison.csv"]
    assert f"  {tmp_path}/comparison/comparison.md" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", FILES)
def test_another_file_of_that_name_is_kept(
    studies: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    (tmp_path / name).write_text("mine")
    error = error_of([*studies, "--output", str(tmp_path)], capsys)
    assert error == f"error: {tmp_path / name}: exists and is not a comparison; move it, or give another --output."
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_a_file_as_output_is_refused(studies: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "notes").write_text("mine")
    error = error_of([*studies, "--output", str(tmp_path / "notes")], capsys)
    assert error == f"error: {tmp_path / 'notes'}: is a file; give --output a folder."


def test_one_study_or_the_same_twice_is_refused(
    studies: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    error = error_of(studies[:1], capsys)
    assert error == f"error: two or more studies are needed, got {studies[0]} alone; the first is the reference."
    monkeypatch.chdir(tmp_path)
    assert error_of([*studies, "b/../a"], capsys).endswith(
        f"error: b/../a: is given twice, also as {studies[0]}; give different studies."
    )


def test_what_is_no_study_is_refused(studies: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    error = error_of([studies[0], str(tmp_path / "none")], capsys)
    assert error.endswith("none: holds no study.json; give the folder of a study, such as results/demo.")
    assert "not in a known store" in error_of([studies[0], "ftp://host/a"], capsys)


def test_nothing_comparable_writes_nothing(
    studies: list[str], tmp_path: Path, write_study: Write, capsys: pytest.CaptureFixture[str]
):
    other = write_study(tmp_path / "c", WEAK, ("cub",))
    error = error_of([studies[0], str(other.root), "--output", str(tmp_path / "out")], capsys)
    assert error.startswith("error: nothing to compare (demo: only a has it; cub: only c has it)")
    assert not (tmp_path / "out").exists()


def test_a_damaged_ledger_is_named(studies: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "b" / "demo" / "trials" / "b0" / "best_epoch.json").write_text("{")
    assert "b/demo/trials/b0/best_epoch.json: " in error_of(studies, capsys)


def test_studies_in_a_store_are_compared(
    studies: list[str], bucket: Location, write_study: Write, capsys: pytest.CaptureFixture[str]
):
    write_study(bucket / "a", STRONG)
    assert compare_command([studies[0], str(bucket / "a"), "--output", str(bucket / "out")]) == 0
    assert str(bucket / "a") in capsys.readouterr().out  # both are named a, so folders tell them apart
    assert all(exists(bucket / "out" / name) for name in FILES)


def test_a_copy_of_results_without_its_ledger_has_no_completed_trial(
    studies: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.rmtree(tmp_path / "b" / "demo" / "trials")
    assert "demo: b: no trial has completed" in error_of(studies, capsys)
