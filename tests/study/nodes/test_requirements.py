"""Requirements of the disk of the output, and of nodes that join while a study runs."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pan_model.errors import UserError
from study.config.choices import Regime
from study.config.study_config import StudyConfig
from study.nodes.requirements import NodeRequirements, check_disk_space, check_requirements, node_requirements
from study.storage.paths import StudyPaths


@pytest.fixture
def requirements(tmp_path: Path) -> NodeRequirements:
    results = StudyPaths(tmp_path)
    results.study.write_text("{}")
    return node_requirements(results, gpu=False)


def failure(requirements: NodeRequirements) -> str:
    return check_requirements(replace(requirements, mount_timeout_s=0.0))


def test_a_node_equal_to_the_driver_may_run_trials(requirements: NodeRequirements):
    assert failure(requirements) == ""


def test_a_node_with_other_code_may_not(requirements: NodeRequirements):
    assert failure(replace(requirements, code="ab")).startswith(
        "runs other code than the study; bring it to the same state"
    )


def test_a_node_with_another_folder_may_not(requirements: NodeRequirements):
    requirements.results.study.write_text("{ }")
    assert failure(requirements).startswith(
        f"does not share {requirements.results.study}, another one is there; give --output on a"
    )
    requirements.results.study.unlink()
    assert failure(requirements).startswith(
        f"does not share {requirements.results.study}, it is not there; give --output on a file"
    )


def test_a_node_whose_gpu_torch_does_not_find_may_not(requirements: NodeRequirements, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert failure(replace(requirements, gpu=True)).startswith("has a GPU that cannot be used: torch ")


@pytest.mark.parametrize(
    ("free", "regime", "needed"), [(16e6, "frozen", ""), (15e6, "frozen", "16 MB"), (120e3, "finetune", r"[\d.]+ GB")]
)
def test_a_disk_too_small_for_the_trials_is_refused(
    study_config: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch, free: float, regime: str, needed: str
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(free)))
    config = study_config(num_trials=16, confirm=0, regime=Regime(regime))
    if not needed:
        check_disk_space(config)
        return
    with pytest.raises(UserError, match=rf"1\d+ [MK]B are free there, .* at least {needed}; make room"):
        check_disk_space(config)
