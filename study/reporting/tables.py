"""Tables: trials.csv and history.csv, and the formats CSV and Markdown."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pan_model.objective import Objective
from study.storage.files import write_text
from study.storage.paths import DatasetPaths
from study.trials.ledger import TrialRecord

TRIAL_COLUMNS: Mapping[str, Callable[[TrialRecord, Objective], Any]] = {
    "trial_id": lambda record, _: record.trial_id,
    "status": lambda record, _: record.status,
    "metric": lambda record, objective: (record.best_epoch(objective) or {}).get(objective.name),
    "epoch": lambda record, objective: (record.best_epoch(objective) or {}).get("epoch"),
    "wall_s": lambda record, _: record.wall_s,
    "error": lambda record, _: record.error,
    "number": lambda record, _: record.number,
    "started": lambda record, _: record.started,
    "ended": lambda record, _: record.ended,
}
"""The first columns of trials.csv: the value of each for a trial. The trial's configuration follows."""


def write_tables(results: DatasetPaths, records: list[TrialRecord], objective: Objective) -> None:
    """Write trials.csv, with a row for each trial, and history.csv, with a row for each epoch of each trial.

    Args:
        results: The files of the dataset.
        records: The trials of the dataset.
        objective: The objective of the dataset.
    """
    rows = [trial_row(record, objective) for record in records]
    write_text(results.trials_table, to_csv([*TRIAL_COLUMNS], rows))
    epochs = [{"trial_id": record.trial_id, **epoch} for record in records for epoch in record.history]
    write_text(results.history_table, to_csv(("trial_id", "epoch", objective.name), epochs))


def trial_row(record: TrialRecord, objective: Objective) -> dict[str, Any]:
    """Return one trial's row: its best epoch and its configuration."""
    return {
        **{column: value_of(record, objective) for column, value_of in TRIAL_COLUMNS.items()},
        **{f"config.{key}": value for key, value in record.config.items()},
    }


def to_csv(first_columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Return rows as CSV. Numbers read back exactly, None is an empty cell.

    Args:
        first_columns: The columns to begin with; those of all rows follow in order of appearance.
        rows: One mapping from column to value a row; a missing column is an empty cell.

    >>> to_csv(("a",), [{"b": 0.1, "a": None}])
    'a,b\n,0.1\n'
    """
    rows = list(rows)
    columns = list(dict.fromkeys([*first_columns, *(key for row in rows for key in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown_table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Return the lines of a Markdown table.

    >>> markdown_table(["a", "b"], [[1, "x"]])
    ['| a | b |', '| --- | --- |', '| 1 | x |']
    """
    return [_markdown_row(heads), _markdown_row(["---"] * len(heads)), *(_markdown_row(row) for row in rows)]


def parameter_table(parameters: Mapping[str, object]) -> list[str]:
    """Return the lines of a Markdown table of parameters, numbers with 4 significant digits.

    >>> parameter_table({"lambda": 0.00031415926535})[-1]
    '| lambda | 0.0003142 |'
    """
    rows = ((name, f"{value:.4g}" if isinstance(value, float) else value) for name, value in parameters.items())
    return markdown_table(("parameter", "value"), rows)


def _markdown_row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
