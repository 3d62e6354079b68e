import csv
import io
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.objective import Objective
from study.reporting.tables import to_csv, trial_row, write_tables
from study.storage.files import write_json
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialRecord, best_completed, read_ledger

METRIC = "few_shot_accuracy"
FIRST = ["trial_id", "status", "metric", "epoch", "wall_s", "error"]
Make = Callable[..., TrialRecord]


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def records(record: Make) -> list[TrialRecord]:
    return [
        record(0, Status.COMPLETED, 0.5, 0.75, 0.75),
        record(1, Status.STOPPED, 0.9),
        record(2, Status.FAILED, error="ValueError: it broke"),
        record(3, Status.FAILED, 0.25, error="loss/total is nan in epoch 2"),
        record(4, Status.RUNNING, 0.3, 0.2),
    ]


def test_one_row_a_trial(tmp_path: Path, records: list[TrialRecord]):
    files = StudyPaths(tmp_path).dataset("demo")
    write_tables(files, records, Objective(METRIC, "max"))
    text = files.trials_table.read_text(encoding="utf-8")
    head = text.splitlines()[0].split(",")
    assert head[:9] == [*FIRST, "number", "started", "ended"]
    assert all(column.startswith("config.") for column in head[9:])
    assert {column.removeprefix("config.") for column in head[9:]} == {k for one in records for k in one.config}
    assert [int(row["number"]) for row in rows_of(text)] == [0, 1, 2, 3, 4]
    assert [[row[c] for c in head[:6]] for row in rows_of(text)] == [
        ["trial0", "completed", "0.75", "2", "4.5", ""],
        ["trial1", "stopped", "0.9", "1", "1.5", ""],
        ["trial2", "failed", "", "", "0.0", "ValueError: it broke"],
        ["trial3", "failed", "0.25", "1", "1.5", "loss/total is nan in epoch 2"],
        ["trial4", "running", "0.3", "1", "3.0", ""],
    ]


def test_trials_have_times_unless_they_were_made_before_times_were_written(
    tmp_path: Path, records: list[TrialRecord], write_trial: Callable[[Location, TrialRecord], None]
):
    files = StudyPaths(tmp_path).dataset("demo")
    for one in records:
        write_trial(files.trials, one)
    before = files.trials / "trial0"
    for name, column in (("config.json", "started"), ("status.json", "ended")):
        content = json.loads((before / name).read_bytes())
        write_json(before / name, {key: value for key, value in content.items() if key != column})
    write_tables(files, read_ledger(files.trials), Objective(METRIC, "max"))
    times = [(row["started"], row["ended"]) for row in rows_of(files.trials_table.read_text(encoding="utf-8"))]
    assert times[0] == ("", "")
    assert times[4][1] == ""  # it runs
    now = datetime.now(UTC)
    for started, ended in times[1:4]:
        assert datetime.fromisoformat(started) <= datetime.fromisoformat(ended) <= now
        assert datetime.fromisoformat(started).utcoffset() == timedelta()


def test_the_configuration_reads_back_exactly(tmp_path: Path, records: list[TrialRecord]):
    files = StudyPaths(tmp_path).dataset("demo")
    write_tables(files, records, Objective(METRIC, "max"))
    for row, record in zip(rows_of(files.trials_table.read_text(encoding="utf-8")), records, strict=True):
        given = {key.removeprefix("config."): cell for key, cell in row.items() if key.startswith("config.")}
        assert {key: type(record.config[key])(cell) for key, cell in given.items() if cell} == record.config
        assert all(not cell for key, cell in given.items() if key not in record.config)


def test_one_row_a_trial_and_epoch(tmp_path: Path, records: list[TrialRecord]):
    files = StudyPaths(tmp_path).dataset("demo")
    write_tables(files, records, Objective(METRIC, "max"))
    text = files.history_table.read_text(encoding="utf-8")
    assert text.splitlines()[0] == f"trial_id,epoch,{METRIC},loss/total,time/train_s,time/evaluate_s"
    read = [(row["trial_id"], int(row["epoch"]), float(row[METRIC])) for row in rows_of(text)]
    assert read == [(r.trial_id, e["epoch"], e[METRIC]) for r in records for e in r.history]


def test_a_study_without_trials_has_tables_with_heads(tmp_path: Path):
    files = StudyPaths(tmp_path).dataset("demo")
    write_tables(files, [], Objective(METRIC, "max"))
    assert files.trials_table.read_text(encoding="utf-8") == ",".join([*FIRST, "number", "started", "ended"]) + "\n"
    assert files.history_table.read_text(encoding="utf-8") == f"trial_id,epoch,{METRIC}\n"


def test_where_less_is_better(record: Make):
    one = record(0, Status.COMPLETED, 0.5, 0.25, 0.75)
    row = trial_row(one, Objective(METRIC, "min"))
    assert (row["metric"], row["epoch"]) == (0.25, 2)


@pytest.mark.parametrize(
    "error",
    [
        "a, b",
        'he said "no"',
        "two\nlines",
        "",
        '",\n"',
        "ä 图",
    ],
)
def test_errors_of_any_text_read_back(record: Make, error: str):
    text = to_csv((), [trial_row(record(0, Status.FAILED, error=error), Objective(METRIC, "max"))])
    (row,) = rows_of(text)
    assert row["error"] == error


@given(st.lists(st.floats(allow_nan=False) | st.integers(-(2**70), 2**70), min_size=1))
def test_numbers_read_back_exactly(values: list[float | int]):
    read = [row["x"] for row in rows_of(to_csv(("x",), [{"x": value} for value in values]))]
    for value, cell in zip(values, read, strict=True):
        back = type(value)(cell)
        assert back == value
        assert not isinstance(back, float) or math.copysign(1, back) == math.copysign(1, value)


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.text('xyz,"\n ', min_size=1)), min_size=1))
def test_columns_of_any_row_are_there_in_order_of_appearance(rows: list[dict[str, str]]):
    text = to_csv(("c", "a"), rows)
    order: list[str] = ["c", "a"]
    for row in rows:
        order += [key for key in row if key not in order]
    assert text.split("\n", 1)[0] == ",".join(order)
    assert [{key: cell for key, cell in row.items() if cell} for row in rows_of(text)] == rows


def test_the_best_is_the_best_completed_one(record: Make, records: list[TrialRecord]):
    best = best_completed(records, Objective(METRIC, "max"))
    assert best == (records[0], 0.75, 2)
    better = [*records, record(5, Status.COMPLETED, 0.8), record(6, Status.COMPLETED, 0.8)]
    assert best_completed(better, Objective(METRIC, "max")) == (better[5], 0.8, 1)
    assert best_completed(better, Objective(METRIC, "min")) == (better[0], 0.5, 1)


def test_without_a_completed_trial_there_is_no_best(records: list[TrialRecord]):
    assert best_completed(records[1:], Objective(METRIC, "max")) is None
    assert best_completed([], Objective(METRIC, "max")) is None


def test_rows_hold_the_objective_and_nothing_is_invented(record: Make):
    one = record(0, Status.FAILED, error="x")
    row: dict[str, Any] = trial_row(one, Objective(METRIC, "max"))
    assert row["metric"] is None
    assert row["epoch"] is None
