"""A node that joins while a study runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from study.nodes.requirements import NodeRequirements, check_requirements, node_requirements
from study.storage.paths import StudyPaths


@pytest.fixture
def terms(tmp_path: Path) -> NodeRequirements:
    results = StudyPaths(tmp_path)
    results.study.write_text("{}")
    return node_requirements(results, gpu=False)


def breach(terms: NodeRequirements) -> str:
    return check_requirements(terms, seen_within_s=0.0)


def test_a_node_that_is_as_the_driver_may_run_trials(terms: NodeRequirements):
    assert breach(terms) == ""


def test_other_code_may_not(terms: NodeRequirements):
    assert breach(replace(terms, code="ab")).startswith("runs other code than the study; bring it to the same state")


def test_another_folder_may_not(terms: NodeRequirements):
    terms.results.study.write_text("{ }")
    assert breach(terms).startswith(f"does not share {terms.results.study}, another one is there; give --output on a")
    terms.results.study.unlink()
    assert breach(terms).startswith(f"does not share {terms.results.study}, it is not there; give --output on a file")


def test_a_gpu_that_is_none_may_not(terms: NodeRequirements, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert breach(replace(terms, gpu=True)).startswith("has a GPU that cannot be used: torch ")
