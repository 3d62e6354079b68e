"""The report: what it says of a study, and what it says where something is missing."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from study.analysis.study_data import read_study_data
from study.page.report_page import report_page
from study.storage.paths import StudyPaths
from study.trials.ledger import Status

Write = Callable[..., StudyPaths]
SECTIONS = ["answer", "figures", "search", "parameters", "examples", "reproduce"]
WEAK, STRONG = [0.5, 0.25, 0.5, 0.75, 0.5, 0.25], [0.75, 0.5, 0.75, 1.0, 0.75, 0.75]


@pytest.fixture
def text_of() -> Callable[[StudyPaths], str]:
    """Render the report of a study, check that it needs no other file, and return its words."""

    def render(paths: StudyPaths) -> str:
        page = report_page(read_study_data(paths), 0.0)
        markup = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
        assert not re.search(r"(src|href)=\"(?!#|data:)", markup)
        assert re.findall(r"<section id=\"(\w+)\"", markup) == SECTIONS
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", markup)).split())

    return render


def test_the_answer_is_first_with_the_lead_on_test(
    tmp_path: Path, write_study: Write, write_final: Callable[..., None], text_of: Callable[..., str]
):
    paths = write_study(tmp_path / "birds", STRONG, witness=WEAK)
    write_final(paths, "birds0", [STRONG])
    text = text_of(paths)
    assert "Trial 0 (birds0) won on demo: few-shot accuracy 0.7500" in text
    assert "on test. It is: " in text
    assert text.index("won on demo") < text.index("The paper's figures How the metric")
    assert "chance is 0.2; 6 questions on val" in text
    assert "Recommended: " in text
    assert "Run them in the project's folder, on the machine of the study." in text
    assert "study/explain.py" in text
    assert "Written by PAN Study on 1970-01-01 00:00 UTC." in text


@pytest.mark.parametrize(
    ("pan", "baseline", "conclusion"),
    [
        (STRONG, WEAK, "more than the noise of the questions. But the winner was chosen on val"),
        (WEAK, STRONG, "negative by more than the noise. So far, use the baseline"),
        (WEAK, WEAK, "an interval that contains 0. So this study does not show that PAN is better"),
    ],
)
def test_the_conclusion_follows_from_the_interval_of_the_lead(
    pan: list[float], baseline: list[float], conclusion: str, tmp_path: Path, write_study: Write, text_of: Any
):
    text = text_of(write_study(tmp_path / "birds", pan, witness=baseline))
    assert conclusion in text
    assert "Not here: test scores. There has been no final training" in text
    assert "study/final.py" in text


def test_without_a_completed_trial_every_section_says_what_is_missing(
    tmp_path: Path, write_study: Write, text_of: Callable[..., str]
):
    text = text_of(write_study(tmp_path / "birds", []))
    for missing in (
        "There is no best configuration yet: no trial has completed",
        "baselines. None has been scored yet",
        "Metric against λ, by gate. No trial has run to its end yet",
        "the best value over time. No trial has completed.",
        "the importance of parameters. Too few trials to say",
        "parallel coordinates. They need at least two full-length trials",
        "explained pairs of images. They need a completed trial.",
    ):
        assert missing in text
    assert "it broke" in text


def test_a_study_without_any_trial_has_a_page(
    tmp_path: Path, study_content: Callable[..., Any], text_of: Callable[..., str]
):
    paths = StudyPaths(tmp_path)
    paths.study.write_text(json.dumps(study_content("birds")))
    text = text_of(paths)
    assert "no trial has completed (none yet)" in text
    assert "learning curves. No trial has finished an epoch yet." in text


def test_a_study_of_version_0_1_has_a_page(pytestconfig: pytest.Config, text_of: Callable[..., str]):
    text = text_of(StudyPaths(pytestconfig.rootpath / "tests/recorded/0.1/recorded"))
    assert "whether the study still runs: it was made by a version that does not record it." in text
    assert "the search space. This study was made by a version that does not record it." in text
    assert "Trials are in the order of suggestions: this study has no times." in text


def test_several_datasets_begin_with_a_row_for_each(tmp_path: Path, write_study: Write, text_of: Callable[..., str]):
    text = text_of(write_study(tmp_path / "both", STRONG, datasets=("demo", "cub")))
    assert "All datasets dataset value lead over the strongest baseline best configuration demo few-shot" in text
    assert "Published numbers to compare with: none are known for demo." in text
    assert "0.9277 ± 0.0030" in text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("examples.json", "{", "examples.json: is not JSON"),
        ("examples.json", '{"schema": "pan-study/examples/1"}', "examples.json: lacks trial_id, epoch, pairs"),
        ("ablation/ablation.json", '{"schema": "other"}', "ablation.json: lacks seeds, winner, rows"),
    ],
)
def test_a_damaged_file_is_named_where_its_content_would_stand(
    name: str, content: str, said: str, tmp_path: Path, write_study: Write, text_of: Callable[..., str]
):
    paths = write_study(tmp_path / "birds", STRONG)
    file = tmp_path / "birds" / "demo" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    text = text_of(paths)
    assert said in text
    assert "make it again, or remove it to leave it out." in text
    assert "won on demo" in text


def test_examples_of_an_earlier_winner_are_marked(tmp_path: Path, write_study: Write, text_of: Callable[..., str]):
    paths = write_study(tmp_path / "birds", STRONG)
    content = {"schema": "pan-study/examples/1", "trial_id": "other", "epoch": 1, "pairs": []}
    (tmp_path / "birds" / "demo" / "examples.json").write_text(json.dumps(content))
    assert "these examples are of trial other, not of the present winner birds0." in text_of(paths)


def test_a_comparison_of_another_trial_is_not_called_the_winner(
    tmp_path: Path, write_study: Write, text_of: Callable[..., str]
):
    paths = write_study(tmp_path / "birds", STRONG)
    row = {"status": "completed", "mean": 0.5, "ci95": [0.4, 0.6]}
    config = {"encoder": "siamese", "supervision": "hybrid", "gate": "XNOR", "lambda": 0.1, "num_conditions": 8}
    content = {
        "schema": "pan-study/ablation/1",
        "seeds": [0, 1],
        "winner": {"trial_id": "other", "config": config, "mean": 0.5, "ci95": [0.4, 0.6]},
        "rows": [
            {**row, "changes": {"gate": "OR"}, "difference": 0.0, "difference_ci95": [0.0, 0.0]},
            {**row, "changes": {"lambda": 1.0}, "difference": 0.0, "difference_ci95": [-0.1, 0.1]},
        ],
    }
    (tmp_path / "birds" / "demo" / "ablation").mkdir()
    (tmp_path / "birds" / "demo" / "ablation" / "ablation.json").write_text(json.dumps(content))
    text = text_of(paths)
    assert (
        "Difference to trial other, which is not the winner (siamese encoder, hybrid with gate XNOR and λ 0.1" in text
    )
    assert (
        "gate = OR: identical answers, the same score in every question over all 2 seeds, so the change had no effect."
        in text
    )
    assert "difference to the winner" not in text


def test_names_and_errors_are_escaped(
    tmp_path: Path, write_study: Write, record: Callable[..., Any], write_trial: Callable[..., None]
):
    paths = write_study(tmp_path / "<b>birds", STRONG)
    failed = replace(record(7, Status.FAILED), error="<script>alert(1)</script>")
    write_trial(paths.dataset("demo").trials, failed)
    page = report_page(read_study_data(paths), 0.0)
    assert "<b>birds" not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
