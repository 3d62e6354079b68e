"""The summary of a dataset without trials."""

import pytest

from pan_model.objective import Objective
from study.reporting.summary import DatasetSummary
from study.trials.selection.confirmation import Selection


@pytest.fixture
def empty_summary() -> DatasetSummary:
    return DatasetSummary(
        dataset="demo",
        metric="few_shot_accuracy",
        planned=1,
        by_status={},
        epochs_spent=0,
        epochs_saved=0,
        best=None,
        selection=Selection(objective=Objective("few_shot_accuracy", "max"), planned=0, candidates=()),
        scores=[],
        cautions=[],
    )
