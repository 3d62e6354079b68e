"""Tables in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """The lines of a table.

    >>> table(["a", "b"], [[1, "x"]])
    ['| a | b |', '| --- | --- |', '| 1 | x |']
    """
    return [_row(heads), _row(["---"] * len(heads)), *(_row(row) for row in rows)]


def with_interval(value: Mapping[str, Any], key: str) -> str:
    """A number and its 95% interval, from an entry of metrics.json.

    >>> with_interval({"mean": 0.5, "ci95": [0.4, 0.6]}, "mean")
    '0.5000 [0.4000, 0.6000]'
    """
    low, high = value["ci95"]
    return f"{value[key]:.4f} [{low:.4f}, {high:.4f}]"


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
