"""Whether a study still lacks scores of baselines."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.config.study_config import StudyConfig
from study.reporting.collation import lacks_baselines
from study.storage.paths import StudyPaths

PAN, OTHER = [0.75, 0.5], [0.5, 0.5]


@pytest.mark.parametrize(
    ("named", "questions", "lacks"),
    [
        (None, PAN, False),  # a study of an earlier version
        (["nearest_class_mean"], PAN, False),
        (["nearest_class_mean", "lda"], PAN, True),
        (["nearest_class_mean", "lda"], [], False),  # without a winner
    ],
)
def test_a_baseline_that_study_json_names_may_lack_scores(
    named: list[str] | None,
    questions: list[float],
    lacks: bool,
    tmp_path: Path,
    write_study: Callable[..., StudyPaths],
    study_config: Callable[..., StudyConfig],
):
    paths = write_study(tmp_path / "results" / "birds", questions, witness=OTHER)
    content: dict[str, Any] = json.loads(paths.study.read_text())
    content["datasets"]["demo"] |= {} if named is None else {"baselines": named}
    config = study_config(datasets=("demo",), name="birds")
    assert lacks_baselines(config, content) is lacks
