"""The screen: a line that lives while work goes on; where nobody watches, a plain one now and then."""

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

Show = Callable[[Callable[[], str]], None]
"""Shows a line, which is made only when it is shown."""

REFRESH_S = 0.5
"""How long a line stands on a terminal before another replaces it."""

QUIET_S = 60.0
"""How long nothing is said where nobody watches, such as in a log file, before a line says how far the work is."""


class Terminal:
    """Says lines always; what is shown lives on a terminal, and is said seldom where there is none."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._clock = clock
        self._said_s = clock()

    def say(self, line: str) -> None:
        """Print a line, wherever output goes."""
        self._console.print(Text(line))
        self._said_s = self._clock()

    @contextmanager
    def live(self, *, at_once: bool = False) -> Generator[Show]:
        """Show a line that each call replaces; without a terminal, say it when all was quiet for a minute.

        at_once says the first line there without waiting, of work that may take long.
        """
        if not self._console.is_terminal:
            yield self._say_after_quiet(at_once)
            return
        with Live(console=self._console, transient=True, auto_refresh=False) as line:
            shown_s = -math.inf

            def show(make: Callable[[], str]) -> None:
                nonlocal shown_s
                if self._clock() - shown_s > REFRESH_S:
                    line.update(Text(make(), no_wrap=True, overflow="ellipsis"), refresh=True)
                    shown_s = self._clock()

            yield show

    def _say_after_quiet(self, at_once: bool) -> Show:
        due = at_once

        def show(make: Callable[[], str]) -> None:
            nonlocal due
            if due or self._clock() - self._said_s >= QUIET_S:
                self.say(make())
                due = False

        return show


def show_work(dataset: str, show: Show, clock: Callable[[], float] = time.monotonic) -> Callable[[str, int, int], None]:
    """Show each kind of work before a search with the time that is left of it; what is done may begin again."""
    started_s: dict[str, float] = {}

    def tell(work: str, done: int, total: int) -> None:
        since_s = clock() - started_s.setdefault(work, clock())
        show(lambda: work_line(dataset, work, done, total, since_s))
        if done >= total:
            del started_s[work]

    return tell


def work_line(dataset: str, work: str, done: int, total: int, since_s: float) -> str:
    """Progress of something that takes time before a search."""
    line = f"{dataset}: {work}, {done / max(total, 1):.0%}"
    known = done > 0 and since_s >= 1
    return f"{line}, about {duration(since_s / done * (total - done))} left" if known else line


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(75), duration(5), duration(7260)
    ('1 min 15 s', '5 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
