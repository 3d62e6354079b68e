"""A disk that is too small is told before the first trial."""

import shutil
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from study.config.regime import Regime
from study.config.study_config import StudyConfig
from study.nodes.disk_space import short_disk


@pytest.mark.parametrize(
    ("free", "regime", "told"), [(16e6, "frozen", False), (15e6, "frozen", True), (1e9, "finetune", True)]
)
def test_a_disk_too_small_for_the_trials_is_told(
    study_config: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch, free: float, regime: str, told: bool
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(free)))
    found = short_disk(study_config(num_trials=16, regime=Regime(regime)))
    assert bool(found) is told
    assert all("free for --output" in finding.what for finding in found)
