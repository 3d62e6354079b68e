"""How a report words the selection of the winner: its confirmation, and what the search has gained."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pan_model.objective import Objective
from study.reporting.selection import CANDIDATE_HEADS, candidate_rows, describe_confirmation
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import Status, TrialRecord
from study.trials.selection.confirmation import select_winner

OBJECTIVE = Objective("few_shot_accuracy", "max")
Make = Callable[..., Any]


@pytest.fixture
def files(tmp_path: Path) -> DatasetPaths:
    return StudyPaths(tmp_path).dataset("demo")


@pytest.fixture
def records(files: DatasetPaths, record: Make, write_runs: Make) -> list[TrialRecord]:
    """Two completed trials; the confirmation prefers the second."""
    one, other = (record(number, Status.COMPLETED, value) for number, value in enumerate((0.9, 0.8)))
    write_runs(files, one, 1, [0.5, 0.5], [0.5, 0.5], [0.5, 0.5])
    write_runs(files, other, 1, [1.0, 0.5], [0.5, 0.5], [0.5, 1.0])
    return [one, other]


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ([], r"at confirmation 0.6667 \[.*\] \(6 fresh questions, 3 runs from other seeds\)"),
        ([0], r"at .* 3 runs .*; ahead of the best first trial of its space, 0, by 0.1667 \[-0.0399, 0.3733\]\)"),
        ([0, 1], r"at .* 3 runs .*; the search found nothing better than this first trial of its space\)"),
    ],
)
def test_what_the_search_has_gained_is_told(
    files: DatasetPaths, records: list[TrialRecord], first: list[int], expected: str
):
    selection = select_winner(files, OBJECTIVE, records, 2, [records[place].config for place in first])
    assert re.fullmatch(expected, describe_confirmation(selection)), describe_confirmation(selection)
    rows = candidate_rows(selection)
    assert {len(row) for row in rows} == {len(CANDIDATE_HEADS)}
    assert [row.lead for row in rows] == ["0.1667 [-0.0399, 0.3733]", ""]
    names = [row.trial for row in rows]
    assert ["first trial" in name for name in names] == [0 in first, 1 in first]
    assert [name.endswith(", winner") for name in names] == [False, True]


def test_a_winner_without_a_confirmation_is_called_so(files: DatasetPaths, records: list[TrialRecord]):
    assert describe_confirmation(select_winner(files, OBJECTIVE, records, 0)) == "not confirmed (--confirm 0)"
