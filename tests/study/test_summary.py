import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.ledger import Status, TrialRecord
from study.results import Results
from study.summary import BASELINES, summary_row, write_summary

Make = Callable[..., TrialRecord]
PART: dict[str, Any] = {
    "num_trials": 8,
    "max_epochs": 9,
    "objective": {"name": "few_shot_accuracy", "mode": "max"},
    "baselines": {
        kind: {name: base + number / 10 for number, name in enumerate(BASELINES)}
        for kind, base in (("none", 0.1), ("standardise", 0.2), ("l2", 0.3))
    },
}
STUDY: dict[str, Any] = {"name": "mine", "datasets": {"demo": PART, "cub": PART}}


@pytest.fixture
def records(record: Make) -> list[TrialRecord]:
    best = record(0, Status.COMPLETED, *[0.5] * 8, 0.7)
    return [
        record(0, Status.COMPLETED, *[0.5] * 8, 0.7, config=best.config | {"normalisation": "l2"}),
        record(1, Status.STOPPED, 0.6, 0.9, 0.4),
        record(2, Status.FAILED, 0.3, error="it broke"),
        record(3, Status.FAILED, error="it broke"),
        record(4, Status.RUNNING, 0.2, 0.3),
    ]


def test_a_row_counts_trials_and_epochs(records: list[TrialRecord]):
    row = summary_row("demo", PART, records)
    assert {key: row[key] for key in ("planned", "completed", "stopped", "failed", "running")} == {
        "planned": 8,
        "completed": 1,
        "stopped": 1,
        "failed": 2,
        "running": 1,
    }
    assert row["epochs_spent"] == 9 + 3 + 1 + 0 + 2
    assert row["epochs_saved"] == 0 + 6  # what stopping saved; failures and cuts save nothing


def test_a_row_holds_the_winner(records: list[TrialRecord]):
    row = summary_row("demo", PART, records)
    assert (row["metric"], row["split"], row["best_value"], row["best_epoch"], row["best_trial"]) == (
        "few_shot_accuracy",
        "val",
        0.7,
        9,
        "trial0",
    )
    assert {k.removeprefix("config."): v for k, v in row.items() if k.startswith("config.")} == records[0].config


def test_baselines_are_normalised_as_the_winner_is(records: list[TrialRecord]):
    row = summary_row("demo", PART, records)
    assert {name: row[f"baseline.{name}"] for name in BASELINES} == PART["baselines"]["l2"]


def test_without_a_winner_the_baselines_are_those_of_bare_features(records: list[TrialRecord]):
    row = summary_row("demo", PART, records[1:])
    assert {name: row[f"baseline.{name}"] for name in BASELINES} == PART["baselines"]["none"]
    assert (row["best_value"], row["best_epoch"], row["best_trial"]) == (None, None, None)


@pytest.fixture
def results(tmp_path: Path, records: list[TrialRecord]) -> Results:
    results = Results(tmp_path / "mine")
    write_summary(results, STUDY, {"demo": records, "cub": records[1:]})
    return results


def test_the_table_has_a_row_for_each_dataset(results: Results, records: list[TrialRecord]):
    text = results.summary_table.read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["dataset"] for row in rows] == ["demo", "cub"]
    for row, of_dataset in zip(rows, (records, records[1:]), strict=True):
        expected = summary_row(row["dataset"], PART, of_dataset)
        assert {key: cell for key, cell in row.items() if cell} == {
            key: str(value) for key, value in expected.items() if value is not None
        }


def test_the_page_shows_each_dataset_and_its_winner(results: Results, records: list[TrialRecord]):
    lines = results.summary.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# Study mine"
    assert "| demo | few_shot_accuracy | 0.7000 | 0.3000 | 0.4000 | 0.5000 | 1 | 1 | 2 | 1 | 15 | 6 |" in lines
    assert "| cub | few_shot_accuracy | none | 0.1000 | 0.2000 | 0.3000 | 0 | 1 | 2 | 1 | 6 | 6 |" in lines
    assert lines[-1] == "No trial has completed."
    assert "Trial trial0, epoch 9." in lines
    for key, value in records[0].config.items():
        assert f"| {key} | {value} |" in lines


def test_rows_of_the_page_are_as_wide_as_its_head(results: Results):
    lines = results.summary.read_text(encoding="utf-8").splitlines()
    table = lines[2 : lines.index("", 2)]
    assert len(table) == 4
    assert len({line.count("|") for line in table}) == 1
