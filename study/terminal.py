"""Terminal: what commands print. A progress line on a terminal; plain lines now and then in a log file."""

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

Show = Callable[[Callable[[], str]], None]
"""Shows a line of progress; the function that makes it is called only if it is shown."""

REFRESH_S = 0.5
"""Seconds between two updates of the progress line on a terminal."""

QUIET_S = 60.0
"""Seconds without output after which progress is printed where there is no terminal, such as in a log file."""


class Terminal:
    """Prints lines, and shows progress: live on a terminal, seldom elsewhere."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._clock = clock
        self._printed_s = clock()

    def say(self, line: str) -> None:
        """Print a line, wherever output goes."""
        self._console.print(Text(line))
        self._printed_s = self._clock()

    @contextmanager
    def live(self, *, at_once: bool = False) -> Generator[Show]:
        """Show a progress line that each call replaces.

        Args:
            at_once: Where there is no terminal, print the first line without waiting for QUIET_S.

        Yields:
            A function that shows the next line. Where there is no terminal, it prints a line after QUIET_S without
            output.
        """
        if not self._console.is_terminal:
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
    """Return a function that shows the progress of each kind of work; work that is done may start again."""
    started_s: dict[str, float] = {}

    def update(work: str, done: int, total: int) -> None:
        since_s = clock() - started_s.setdefault(work, clock())
        show(lambda: work_line(dataset, work, done, total, since_s))
        if done >= total:
            del started_s[work]

    return update


def work_line(dataset: str, work: str, done: int, total: int, since_s: float) -> str:
    """Return a line about the progress of work before a search, with the time that is left."""
    line = f"{dataset}: {work}, {done / max(total, 1):.0%}"
    known = done > 0 and since_s >= 1
    return f"{line}, about {duration(since_s / done * (total - done))} left" if known else line


def duration(seconds: float) -> str:
    """Format seconds for people.

    >>> duration(75), duration(5), duration(7260)
    ('1 min 15 s', '5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
