"""All analyses together: of a study of version 0.1, of one that begins, and of one with 1,000 trials."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from study.analysis.cheapest import find_cheapest
from study.analysis.coordinates import find_coordinates
from study.analysis.effects import find_effects
from study.analysis.failures import group_failures
from study.analysis.importance import find_importance
from study.analysis.progress import best_so_far
from study.analysis.stopping import find_stopping
from study.analysis.study_data import DatasetData, read_study_data
from study.storage.location import locate
from study.storage.paths import StudyPaths
from study.trials.ledger import Status

RECORDED = Path(__file__).parents[2] / "recorded" / "0.1" / "recorded"

Make = Callable[..., Any]


def analyse(data: DatasetData) -> dict[str, Any]:
    return {
        "effects": find_effects(data),
        "importance": find_importance(data, num_resamples=2, num_shuffles=2),
        "stopping": find_stopping(data),
        "progress": best_so_far(data),
        "cheapest": find_cheapest(data),
        "failures": group_failures(data),
        "coordinates": find_coordinates(data),
    }


def test_a_study_of_version_0_1_is_analysed() -> None:
    data = read_study_data(StudyPaths(locate(str(RECORDED)))).datasets["demo"]
    assert "space" not in data.entry
    results = analyse(data)
    assert results["effects"].supervision.num_full == 1
    assert results["importance"].too_few
    assert [rung.epoch for rung in results["stopping"].rungs] == [2]
    assert not results["progress"].in_order_of_time
    assert results["cheapest"].is_winner


@pytest.mark.parametrize("status", [Status.RUNNING, Status.STOPPED, Status.FAILED])
def test_a_study_without_completed_trials_is_analysed(make_data: Make, make_trial: Make, status: Status) -> None:
    results = analyse(make_data([make_trial(number, 0.5, 0.6, 0.7, status=status) for number in range(30)]))
    assert all(effect.missing for effect in results["effects"].every)
    assert results["importance"].too_few
    assert results["cheapest"] is None
    assert results["progress"].points == ()
    assert len(results["progress"].curves) == 30


def test_a_study_of_1000_trials_is_analysed(make_data: Make, make_trial: Make) -> None:
    generator = np.random.default_rng(0)
    values = generator.random((1000, 9))
    numbers = generator.choice(3, 1000, p=[0.4, 0.58, 0.02])
    statuses = [(Status.COMPLETED, Status.STOPPED, Status.FAILED)[number] for number in numbers]
    num_completed = statuses.count(Status.COMPLETED)
    records = [
        make_trial(number, *values[number, : 9 if status is Status.COMPLETED else 3], status=status)
        for number, status in enumerate(statuses)
    ]
    results = analyse(make_data(records))
    assert results["importance"].num_top == math.ceil(0.1 * (1000 - statuses.count(Status.FAILED)))
    assert results["stopping"].rungs[0].num_went_on == num_completed
    assert results["effects"].supervision.num_full == num_completed
    assert results["progress"].epochs_spent == sum(len(record.history) for record in records)
