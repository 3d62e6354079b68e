"""A search's request, without Ray."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from pan_model.objective import Objective
from search_spaces import SPACES
from search_spaces.pan import SearchSpace
from study.config.identity import trial_id
from study.trials.trial import TrialPlace
from study.tuning.tune_request import TuneRequest


@pytest.fixture(scope="session")
def tune_request() -> Callable[..., TuneRequest]:
    """Ask for 16 trials of at most 9 epochs, judged from the third on, with results below a folder."""

    def make(root: Path, *, space: SearchSpace = SPACES["demo"], mode: Literal["max", "min"] = "max") -> TuneRequest:
        return TuneRequest(
            place=TrialPlace(root=root, dataset="demo", num_threads=1),
            objective=Objective("few_shot_accuracy", mode),
            space=space,
            complete=lambda suggested: {**suggested, "max_epochs": 9, "seed": 0},
            identify=lambda config: trial_id("sha256:1", {}, config),
            num_trials=16,
            max_epochs=9,
            grace_epochs=3,
        )

    return make


@pytest.fixture
def request_(tune_request: Callable[..., TuneRequest], tmp_path: Path) -> TuneRequest:
    return tune_request(tmp_path)
