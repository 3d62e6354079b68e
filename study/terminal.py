"""Terminal: output of commands. Progress is live lines on a terminal, and occasional plain lines in a log file."""

import math
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

Show = Callable[[Callable[[], str]], None]
"""Shows progress. The argument builds the lines, joined by line ends, and is called only if they are shown."""

REFRESH_S = 0.5
"""Seconds between two updates of the progress line on a terminal."""

QUIET_S = 60.0
"""Seconds without output after which progress is printed if output is not a terminal, such as a log file."""


class Terminal:
    """Print lines, and show progress: live on a terminal, at most once in QUIET_S elsewhere."""

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

    @contextmanager
    def live(self, *, at_once: bool = False) -> Generator[Show]:
        """Show progress lines that each call replaces; those wider than the terminal are truncated.

        Args:
            at_once: If output is not a terminal, print the first line without waiting for QUIET_S.

        Yields:
            A function that shows the next line. If output is not a terminal, it prints a line after QUIET_S without
            output.
        """
        if not self._is_live:
            yield self._print_after_quiet(at_once)
            return
        with Live(console=self._console, transient=True, auto_refresh=False) as line:
            shown_s = -math.inf

            def show(make: Callable[[], str]) -> None:
                nonlocal shown_s
                if self._clock() - shown_s > REFRESH_S:
                    line.update(Text(make(), no_wrap=True, overflow="ellipsis"), refresh=True)
                    shown_s = self._clock()

            yield show

    def _print_after_quiet(self, at_once: bool) -> Show:
        due = at_once

        def show(make: Callable[[], str]) -> None:
            nonlocal due
            if due or self._clock() - self._printed_s >= QUIET_S:
                self.say(make())
                due = False

        return show


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
