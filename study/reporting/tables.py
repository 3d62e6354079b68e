"""The tables trials.csv and history.csv, and how rows become CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pan_model.objective import Objective
from study.storage.files import write_text
from study.storage.paths import DatasetPaths
from study.trials.ledger import TrialRecord


def write_tables(results: DatasetPaths, records: list[TrialRecord], objective: Objective) -> None:
    """Write one row a trial, and one row a trial and epoch."""
    rows = [trial_row(record, objective) for record in records]
    first = ("trial_id", "status", "metric", "epoch", "wall_s", "error")
    write_text(results.trials_table, to_csv(first, rows))
    epochs = [{"trial_id": record.trial_id, **epoch} for record in records for epoch in record.history]
    write_text(results.history_table, to_csv(("trial_id", "epoch", objective.name), epochs))


def trial_row(record: TrialRecord, objective: Objective) -> dict[str, Any]:
    """One trial's row: its best epoch and its configuration."""
    best = record.best_epoch(objective)
    return {
        "trial_id": record.trial_id,
        "status": record.status,
        "metric": None if best is None else best[objective.name],
        "epoch": None if best is None else best["epoch"],
        "wall_s": record.wall_s,
        "error": record.error,
        **{f"config.{key}": value for key, value in record.config.items()},
    }


def to_csv(first: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Write rows with the columns of any of them, `first` in front, the rest in order of appearance; None is empty.

    Numbers are written so that they read back exactly.

    >>> to_csv(("a",), [{"b": 0.1, "a": None}])
    'a,b\n,0.1\n'
    """
    rows = list(rows)
    columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
