"""Trials, epochs and scores of a study as pandas data frames, for notebooks."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from study.analysis.study_data import StudyData
from study.reporting.tables import TRIAL_COLUMNS, trial_row
from study.trials.ledger import STATUS_ORDER

DTYPES = {
    "dataset": "string",
    "trial_id": "string",
    "metric": "float64",
    "epoch": "Int64",
    "wall_s": "float64",
    "error": "string",
    "number": "int64",
}
"""The types of the first columns of `trials_frame`, except those of `status` and of times."""


def trials_frame(study: StudyData) -> pd.DataFrame:
    """Return one row for each trial: the dataset and the columns of trials.csv, with `config.<parameter>` at the end.

    `status` is an ordered category, `started` and `ended` are times in UTC. Of the parameters, choices are strings,
    integers are Int64 and may be missing, other numbers are float64, and switches are boolean. `metric` is the value in
    the trial's best epoch, `epoch`; both are missing before the first epoch.

    Args:
        study: The study.
    """
    rows = [
        {"dataset": name, **trial_row(record, data.objective)}
        for name, data in study.datasets.items()
        for record in data.records
    ]
    frame = _frame(("dataset", *TRIAL_COLUMNS), rows)
    frame = frame.astype(DTYPES)
    statuses = [status.value for status in STATUS_ORDER]
    frame["status"] = pd.Categorical([str(row["status"]) for row in rows], categories=statuses, ordered=True)
    for column in ("started", "ended"):
        frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601")
    for column in frame.columns:
        if column.startswith("config."):
            frame[column] = frame[column].astype(_parameter_type(row.get(column) for row in rows))
    return frame


def history_frame(study: StudyData) -> pd.DataFrame:
    """Return one row for each trial and epoch: the dataset and the columns of history.csv.

    `epoch` is int64, all metrics, losses and times are float64; a column that only another dataset has is missing.

    Args:
        study: The study.
    """
    rows = [
        {"dataset": name, "trial_id": record.trial_id, **epoch}
        for name, data in study.datasets.items()
        for record in data.records
        for epoch in record.history
    ]
    objectives = (data.objective.name for data in study.datasets.values())
    frame = _frame(("dataset", "trial_id", "epoch", *objectives), rows)
    first = {"dataset": "string", "trial_id": "string", "epoch": "int64"}
    return frame.astype({column: first.get(column, "float64") for column in frame.columns})


def _frame(columns: Iterable[str], rows: list[dict[str, Any]]) -> pd.DataFrame:
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype="object") for name in names})


def _parameter_type(values: Iterable[object]) -> str:
    """Return the type of a parameter's column; None is missing."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "Int64"
    return "float64" if kinds and kinds <= {int, float} else "string"


def table_of(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    """Return rows as a frame with the given columns, whose types pandas infers."""
    return pd.DataFrame([dict(row) for row in rows], columns=list(columns))
