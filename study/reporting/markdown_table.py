"""Tables in Markdown."""

from collections.abc import Iterable, Mapping, Sequence


def table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """The lines of a table.

    >>> table(["a", "b"], [[1, "x"]])
    ['| a | b |', '| --- | --- |', '| 1 | x |']
    """
    return [_row(heads), _row(["---"] * len(heads)), *(_row(row) for row in rows)]


def parameter_table(parameters: Mapping[str, object]) -> list[str]:
    """The lines of a table of parameters, their numbers with 4 significant digits.

    >>> parameter_table({"lambda": 0.00031415926535})[-1]
    '| lambda | 0.0003142 |'
    """
    rows = ((name, f"{value:.4g}" if isinstance(value, float) else value) for name, value in parameters.items())
    return table(("parameter", "value"), rows)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
