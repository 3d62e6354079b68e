"""Studies of the demo made by hand: trials with random configurations of its space, and values that a test plants."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler

from pan_model.objective import Objective
from search_spaces import SPACES
from study.analysis.study_data import DatasetData
from study.config.space_description import record_space
from study.reporting.summary import summarise_dataset
from study.storage.location import locate
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialRecord

METRIC = "few_shot_accuracy"
MAX_EPOCHS = 9
NUM_CONFIGS = 200


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., DatasetData]:
    """Make the data of a study of the demo from its records; the files below tmp_path need not exist."""

    def make(records: list[TrialRecord], *, mode: str = "max", signed: Any = None, **entry: Any) -> DatasetData:
        files = StudyPaths(locate(str(tmp_path / "results"))).dataset("demo")
        content = {
            "num_trials": len(records),
            "max_epochs": MAX_EPOCHS,
            "grace_epochs": 3,
            "objective": {"name": METRIC, "mode": mode},
            "features": {"regime": "frozen", "backbone": "resnet18"},
            "space": record_space(SPACES["demo"]),
        } | entry
        return DatasetData(
            files=files,
            entry=content,
            objective=Objective(METRIC, mode),
            records=records,
            summary=summarise_dataset(files, content, records),
            signed={"scheduler": "asha", "reduction_factor": 3.0} if signed is None else signed,
        )

    return make


@pytest.fixture(scope="session")
def random_configs() -> list[dict[str, Any]]:
    """Random configurations of the demo's space."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    suggest = SPACES["demo"].suggest
    return [{**suggest(study.ask()), "max_epochs": MAX_EPOCHS, "seed": 0} for _ in range(NUM_CONFIGS)]


@pytest.fixture(scope="session")
def make_trial(random_configs: list[dict[str, Any]]) -> Callable[..., TrialRecord]:
    """Make a trial with the given value in each epoch; `config` changes its random configuration."""

    def make(number: int, *values: float, status: Status = Status.COMPLETED, **changes: Any) -> TrialRecord:
        config = random_configs[number % NUM_CONFIGS] | changes.pop("config", {})
        history = [
            {"epoch": epoch, METRIC: value, "time/train_s": 2.0, "time/evaluate_s": 0.5}
            for epoch, value in enumerate(values, 1)
        ]
        given = {"trial_id": f"trial{number}", "config": config, "history": history}
        return TrialRecord(number=number, status=status, **(given | changes))

    return make
