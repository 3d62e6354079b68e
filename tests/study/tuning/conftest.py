"""A dataset's search and trials' specifications, without Ray."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from pan_model.objective import Objective
from search_spaces import SPACES, SearchSpace
from study.storage.paths import StudyPaths
from study.trials.trial import TrialSpec
from study.tuning.dataset_search import DatasetSearch


@pytest.fixture(scope="session")
def search_in() -> Callable[..., DatasetSearch]:
    """Make a search for 16 trials of at most 9 epochs, with a rung at the third, and with results in a folder."""

    def make(root: Path, *, space: SearchSpace = SPACES["demo"], mode: Literal["max", "min"] = "max") -> DatasetSearch:
        return DatasetSearch(
            paths=StudyPaths(root).dataset("demo"),
            objective=Objective("few_shot_accuracy", mode),
            space=space,
            num_trials=16,
            max_epochs=9,
            grace_epochs=3,
            seed=0,
            fingerprint="sha256:1",
            features={},
        )

    return make


@pytest.fixture
def search(search_in: Callable[..., DatasetSearch], tmp_path: Path) -> DatasetSearch:
    return search_in(tmp_path)


@pytest.fixture
def spec(small_trial: dict[str, Any]) -> TrialSpec:
    return TrialSpec.from_flat(trial_id="id-a", number=0, dataset="demo", config=small_trial)
