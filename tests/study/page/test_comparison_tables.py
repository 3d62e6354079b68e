"""Tables of a comparison: Markdown, lines and CSV."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from study.analysis.comparison.compare_studies import Comparison, compare_studies
from study.analysis.study_data import read_study_data
from study.page.comparison_tables import to_lines, to_markdown, to_table
from study.storage.paths import StudyPaths

Write = Callable[..., StudyPaths]
WEAK, STRONG = [0.5, 0.25, 0.5, 0.75, 0.5, 0.25], [0.75, 0.5, 0.75, 1.0, 0.75, 0.75]


@pytest.fixture
def comparison(tmp_path: Path, write_study: Write, write_final: Callable[..., None]) -> Comparison:
    """A reference, a better study with another seed of search, one with another seed, one of other data."""
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", STRONG, num_trials=8)
    c = write_study(tmp_path / "c", STRONG, seed=1)
    d = write_study(tmp_path / "d", STRONG, data={"fingerprint": "sha256:0123456789abcdef"})
    write_final(a, "a0", [WEAK, WEAK])
    write_final(b, "b0", [STRONG, STRONG])
    return compare_studies([read_study_data(paths) for paths in (a, b, c, d)])


def test_lines_hold_values_with_intervals_differences_and_reasons(comparison: Comparison):
    lines = to_lines(comparison)
    assert "demo: few_shot_accuracy (higher is better), compared with a" in lines
    assert "    a      0.4583 [0.3077, 0.6089]" in lines
    assert any(line.startswith("    b      0.7500 [0.6235, 0.8765]  +0.2917 [0.2100, 0.3733]") for line in lines)
    assert "  Differences are over the same 6 questions." in lines
    assert "  c: no paired difference, its questions are others: they were drawn with seed 1, not 0." in lines
    assert "  d is not compared: the data differ: their fingerprint is 0123456789ab, not efefefefefef." in lines
    assert "  b: the study is not finished: 3 of 8 trials have ended." in lines
    assert "  flags    --seed: 0 (a, b, d); 1 (c)" in lines
    assert "  flags    demo: --num-trials: 3 (a, c, d); 8 (b)" in lines
    assert any("over 2 seeds" in line for line in lines)


def test_a_page_has_rows_as_wide_as_their_heads(comparison: Comparison):
    page = to_markdown(comparison)
    widths = [
        {row.count(" | ") for row in block.splitlines() if row.startswith("|")}
        for block in page.split("\n\n")
        if block.startswith("|")
    ]
    assert [len(width) for width in widths] == [1] * 4  # val, test, trials, what differs
    assert page.startswith("# Comparison of studies\n")
    assert "| flags | --seed | 0 | 0 | 1 | 0 |" in page


def test_studies_that_do_not_differ_say_so(tmp_path: Path, write_study: Write):
    studies = [write_study(tmp_path / name, scores) for name, scores in (("a", WEAK), ("b", STRONG))]
    lines = to_lines(compare_studies([read_study_data(paths) for paths in studies]))
    assert "  Search space, data, backbone, flags and code are the same." in lines


def test_without_any_pair_there_are_no_columns_of_differences(tmp_path: Path, write_study: Write):
    studies = [write_study(tmp_path / name, WEAK, seed=seed) for seed, name in enumerate("ab")]
    lines = to_lines(compare_studies([read_study_data(paths) for paths in studies]))
    assert "    study  val" in lines


def test_the_table_reads_back_exactly(comparison: Comparison):
    rows = list(csv.DictReader(io.StringIO(to_table(comparison))))
    assert [(row["study"], row["comparable"]) for row in rows] == [(name, str(name != "d")) for name in "abcd"]
    lead = comparison.datasets[0].results[1].val_ahead
    assert lead is not None
    assert float(rows[1]["val_difference"]) == lead.interval.mean
    assert float(rows[1]["val_difference_p_corrected"]) == lead.corrected
    assert (rows[1]["val_difference_count"], rows[1]["val_difference_verdict"]) == ("6", "better")
    assert (rows[0]["val_difference"], rows[2]["val_difference"]) == ("", "")
    assert rows[2]["val_unpaired"].startswith("its questions are others")
    assert rows[3]["refusal"].startswith("the data differ")
    assert (rows[1]["seeds"], float(rows[1]["test"])) == ("2", 0.75)
    assert rows[1]["config.encoder"]
