"""Terminal: output of commands. Progress is live lines on a terminal, and occasional plain lines in a log file."""

import math
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


class ProgressRow(NamedTuple):
    """The progress of one of several works that are shown at a time, each in a line.

    Attributes:
        name: The name of the work.
        done: The amount that is done.
        total: The amount in all.
        cells: What else is to say, the most important first: a narrow terminal truncates the end. The cells of all
            rows are aligned; an empty one is blank.
    """

    name: str
    done: int
    total: int
    cells: tuple[str, ...] = ()


Shown = str | Sequence[ProgressRow]
"""A line, or rows."""

Show = Callable[[Callable[[], str]], None]
"""Shows progress. The argument builds a line, and is called only if it is shown."""

ShowRows = Callable[[Callable[[], Shown]], None]
"""Shows progress as a line or in rows."""

REFRESH_S = 0.5
"""Seconds between two updates of the progress line on a terminal."""

QUIET_S = 60.0
"""Seconds after which progress is printed if output is not a terminal, such as a log file."""

BAR_WIDTH, BAR_FROM_WIDTH = 20, 120
"""Columns of a row's bar, and of a terminal that has room for it."""


class Terminal:
    """Print lines, and show progress: live on a terminal, once in QUIET_S elsewhere."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        # Not FORCE_COLOR and the like: lines are redrawn only where somebody sees them.
        self._console = console or Console(highlight=False, soft_wrap=True, force_terminal=sys.stdout.isatty())
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._clock = clock
        self._printed_s = clock()

    def say(self, line: str) -> None:
        """Print a line, on a terminal or in a log file."""
        self._console.print(Text(line))
        self._printed_s = self._clock()

    def log(self, make: Callable[[], str]) -> None:
        """Print a line, unless progress is shown live."""
        if not self._is_live:
            self.say(make())

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table: fitted to the width of a terminal; elsewhere whole, with columns of spaces."""
        if self._console.is_terminal:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
            for name in header:
                table.add_column(name, overflow="fold")
            for row in rows:
                table.add_row(*map(Text, row))
            self._console.print(table)
            return
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            self.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    @contextmanager
    def live(self, *, at_once: bool = False) -> Generator[ShowRows]:
        """Show progress that each call replaces; lines wider than the terminal are truncated.

        Args:
            at_once: If output is not a terminal, print the first progress without waiting for QUIET_S.

        Yields:
            A function that shows the progress. If output is not a terminal, it prints progress after QUIET_S without
            output, or without progress since the block began.
        """
        if not self._is_live:
            yield self._print_after_quiet(at_once)
            return
        with Live(console=self._console, transient=True, auto_refresh=False) as line:
            shown_s = -math.inf
            before: tuple[Shown, int] | None = None

            def show(make: Callable[[], Shown]) -> None:
                nonlocal shown_s, before
                if self._clock() - shown_s > REFRESH_S:
                    shown_s = self._clock()
                    shown = make()
                    if before != (before := (shown, self._console.width)):  # what is the same is not drawn again
                        line.update(self._render(shown), refresh=True)

            yield show

    def _render(self, shown: Shown) -> RenderableType:
        if isinstance(shown, str):
            return Text(shown, no_wrap=True, overflow="ellipsis")
        if self._console.width < BAR_FROM_WIDTH:
            return Text("\n".join(join_rows(shown)), no_wrap=True, overflow="ellipsis")
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(width=BAR_WIDTH)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for row, line in zip(shown, join_rows([row._replace(name="") for row in shown]), strict=True):
            bar = ProgressBar(total=max(row.total, 1), completed=min(row.done, row.total), width=BAR_WIDTH)
            table.add_row(Text(row.name), bar, Text(line, no_wrap=True, overflow="ellipsis"))
        return table

    def _print_after_quiet(self, at_once: bool) -> ShowRows:
        due, progress_s = at_once, self._clock()

        def show(make: Callable[[], Shown]) -> None:
            nonlocal due, progress_s
            if due or self._clock() - min(self._printed_s, progress_s) >= QUIET_S:
                shown = make()
                self.say(shown if isinstance(shown, str) else "\n".join(join_rows(shown)))
                due, progress_s = False, self._clock()

        return show


def join_rows(rows: Sequence[ProgressRow]) -> list[str]:
    """Return a line for each row, with aligned cells; cells that are blank in all rows are left out.

    >>> join_rows([ProgressRow("cub", 3, 16, ("best 0.9", "2 done")), ProgressRow("polyvore", 12, 16, ("", "12 done"))])
    ['cub       3/16 | best 0.9 | 2 done', 'polyvore 12/16 |          | 12 done']
    """
    names = [row.name for row in rows]
    counts = [f"{row.done}/{row.total}" for row in rows]
    columns = [column for column in zip(*(row.cells for row in rows), strict=True) if any(column)]
    name_width, count_width = max(map(len, names)), max(map(len, counts))
    first = [
        f"{name:<{name_width}} {count:>{count_width}}" if name_width else count.rjust(count_width)
        for name, count in zip(names, counts, strict=True)
    ]
    aligned = [first, *([cell.ljust(max(map(len, column))) for cell in column] for column in columns)]
    return [" | ".join(cells).rstrip(" |") for cells in zip(*aligned, strict=True)]


def show_work(dataset: str, show: Show, clock: Callable[[], float] = time.monotonic) -> Callable[[str, int, int], None]:
    """Return a function that shows the progress of each kind of work.

    Args:
        dataset: The name that begins each line.
        show: Shows a line.
        clock: Returns seconds.

    Returns:
        A function of the kind of work, the amount that is done and the total. Work that is done may start again.
    """
    started_s: dict[str, float] = {}

    def update(work: str, done: int, total: int) -> None:
        since_s = clock() - started_s.setdefault(work, clock())
        show(lambda: work_line(dataset, work, done, total, since_s))
        if done >= total:
            del started_s[work]

    return update


def work_line(dataset: str, work: str, done: int, total: int, since_s: float) -> str:
    """Return a line about the progress of work before a search, with the time that is left.

    Args:
        dataset: The name of the dataset.
        work: The kind of work.
        done: The amount that is done.
        total: The amount in all.
        since_s: Seconds since the work began.
    """
    line = f"{dataset}: {work}, {done / max(total, 1):.0%}"
    known = done > 0 and since_s >= 1
    return f"{line}, about {duration(since_s / done * (total - done))} left" if known else line


def duration(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds, with at most two units.

    >>> duration(75), duration(5), duration(7260)
    ('1 min 15 s', '5 s', '2 h 1 min')
    """
    rounded_s = round(seconds)
    if rounded_s < 60:
        return f"{rounded_s} s"
    if rounded_s < 3600:
        return f"{rounded_s // 60} min {rounded_s % 60} s"
    return f"{rounded_s // 3600} h {rounded_s % 3600 // 60} min"
