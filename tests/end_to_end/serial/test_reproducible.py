"""The same seed again: one trial at a time repeats a whole study, and any order repeats its trials."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.storage.paths import StudyPaths
from study.trials.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def test_study_of_one_trial_at_a_time_repeats_exactly(
    done: Any, commands: Any, tmp_path: Path, timeless: Callable[[Any], list[dict[str, Any]]]
) -> None:
    words = [str(tmp_path) if word == str(done.output) else word for word in done.words]
    assert commands.run("run", *words).code == 0
    first, again = read_ledger(done.files.trials), read_ledger(StudyPaths(tmp_path / "demo").dataset("demo").trials)
    assert [record.trial_id for record in again] == [record.trial_id for record in first]
    assert [record.status for record in again] == [record.status for record in first]
    assert [timeless(record) for record in again] == [timeless(record) for record in first]
    assert [record.best for record in again] == [record.best for record in first]


def test_trial_repeats_exactly_outside_of_its_study(
    done: Any, train_alone: Callable[[Any], Any], timeless: Callable[[Any], list[dict[str, Any]]]
) -> None:
    for record in read_ledger(done.files.trials):
        alone = timeless(train_alone(record))
        assert timeless(record) == alone[: len(record.history)]
