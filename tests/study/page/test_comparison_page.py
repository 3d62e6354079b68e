"""The page of a comparison: what it says, and that it needs nothing else."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from study.analysis.comparison.compare_studies import compare_studies
from study.analysis.study_data import read_study_data
from study.page.comparison_page import comparison_page
from study.storage.paths import StudyPaths

Write = Callable[..., StudyPaths]
WEAK, STRONG = [0.5, 0.25, 0.5, 0.75, 0.5, 0.25], [0.75, 0.5, 0.75, 1.0, 0.75, 0.75]


@pytest.fixture
def page_of() -> Callable[..., str]:
    def render(*studies: StudyPaths) -> str:
        """Return the page without its script elements, and check that it refers to no other file."""
        page = comparison_page(compare_studies([read_study_data(paths) for paths in studies]), 0.0)
        text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
        assert not re.search(r"(src|href)=\"(?!#|data:)", text)
        return text

    return render


def test_it_says_which_study_is_better_and_on_what(
    tmp_path: Path, write_study: Write, write_final: Callable[..., None], page_of: Callable[..., str]
):
    a, b, c = (write_study(tmp_path / name, scores) for name, scores in (("a", WEAK), ("b", STRONG), ("c", WEAK)))
    write_final(a, "a0", [STRONG])
    write_final(b, "b0", [WEAK])
    page = page_of(a, b, c)
    assert "<title>Comparison of studies: a, b and c</title>" in page
    assert "b is worse than a on test. b is better than a on val. No difference from a is shown on val for c" in page
    assert "Paired differences from a" in page
    assert "Written by PAN Study on 1970-01-01 00:00 UTC." in page


def test_without_scores_of_questions_it_says_what_is_missing(
    tmp_path: Path, write_study: Write, page_of: Callable[..., str]
):
    a, b = write_study(tmp_path / "a", WEAK), write_study(tmp_path / "b", WEAK)
    for paths in (a, b):
        (paths.dataset("demo").trials / f"{paths.root.name}0" / "best_epoch.json").unlink()
    page = page_of(a, b)
    assert "charts: no study kept the scores of single questions." in page
    assert "No study could be paired with a; the tables say why." in page
    assert "0.4583" in page


def test_names_are_escaped(tmp_path: Path, write_study: Write, page_of: Callable[..., str]):
    page = page_of(write_study(tmp_path / "a", WEAK), write_study(tmp_path / "<b>", STRONG))
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
