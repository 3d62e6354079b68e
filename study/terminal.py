"""The screen: a line that lives while work goes on; where nobody watches, a plain one now and then."""

import math
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from study.config.study_config import DatasetPlan
from study.trials.ledger import Status, TrialRecord
from study.tuning.search_progress import SearchProgress

Show = Callable[[Callable[[], str]], None]
"""Shows a line, which is made only when it is shown."""

REFRESH_S = 0.5
"""How long a line stands on a terminal before another replaces it."""

QUIET_S = 60.0
"""How long nothing is said where nobody watches, such as in a log file, before a line says how far the work is."""

ORDER = (Status.COMPLETED, Status.STOPPED, Status.FAILED, Status.RUNNING)


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


def trials_line(plan: DatasetPlan, tally: SearchProgress, ended_before: int, elapsed_s: float) -> str:
    """Progress of a search: trials by status, best so far, time left at the pace since this run began."""
    line = f"{plan.dataset}: {tally.ended}/{plan.num_trials} trials, {_name_counts(tally.counts)}"
    if tally.best is not None:
        line += f"; best {tally.metric} {tally.best:.4f}"
    if tally.ended > ended_before:
        left_s = elapsed_s / (tally.ended - ended_before) * (plan.num_trials - tally.ended)
        line += f"; about {duration(left_s)} left"
    return line


def count_by_status(records: list[TrialRecord], *, over: bool = False) -> str:
    """Trials by status, those there are: "3 completed, 5 stopped"; when all is over, none is running, but cut."""
    return _name_counts(Counter(record.status for record in records), over=over)


def _name_counts(counts: Counter[Status], *, over: bool = False) -> str:
    words = {status: "cut" if over and status is Status.RUNNING else status.value for status in ORDER}
    return ", ".join(f"{counts[status]} {words[status]}" for status in ORDER if counts[status]) or "none yet"


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
