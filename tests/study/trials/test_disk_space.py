"""The disk of the output holds the trials that are missing, or the study ends before any work."""

import shutil
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pan_model.errors import UserError
from study.config.choices import Regime
from study.config.study_config import StudyConfig
from study.trials.disk_space import check_disk_space


@pytest.mark.parametrize(
    ("free", "regime", "needed"), [(16e6, "frozen", ""), (15e6, "frozen", "16 MB"), (120e3, "finetune", r"[\d.]+ GB")]
)
def test_a_disk_too_small_for_the_trials_is_refused(
    study_config: Callable[..., StudyConfig], monkeypatch: pytest.MonkeyPatch, free: float, regime: str, needed: str
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(free)))
    config = study_config(num_trials=16, regime=Regime(regime))
    if not needed:
        check_disk_space(config)
        return
    with pytest.raises(UserError, match=rf"1\d+ [MK]B are free there, .* at least {needed}; make room"):
        check_disk_space(config)
