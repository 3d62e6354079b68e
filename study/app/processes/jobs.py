"""Jobs that run side by side, and what a running job reports to the process of the command."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple


class Announced(NamedTuple):
    """A value of a job for the job that follows it: an interim one, or its result."""

    value: Any
    is_result: bool


class Link(ABC):
    """What a running job reports to the process of the command.

    Attributes:
        times_s: Seconds that the job took, by part.
    """

    def __init__(self) -> None:
        self.times_s: dict[str, float] = {}

    @contextmanager
    def timed(self, part: str) -> Generator[None]:
        """Add the seconds that the block takes to a part."""
        started_s = time.monotonic()
        yield
        self.times_s[part] = self.times_s.get(part, 0.0) + time.monotonic() - started_s

    @abstractmethod
    def say(self, line: str) -> None:
        """Print a line."""

    @abstractmethod
    def show(self, make: Callable[[], str]) -> None:
        """Show the progress; `make` is called only if it is shown."""

    @abstractmethod
    def announce(self, value: Any) -> None:
        """Announce an interim value to the job that follows this one."""

    @abstractmethod
    def followed(self) -> Iterator[Announced]:
        """Yield the latest value that the followed job announces, wait for the next, and end with its result."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job. Its function and its result can be pickled.

    Attributes:
        name: The name in the results and in error messages.
        run: The function of the shared input and the link.
        follows: The job whose result it needs, earlier in the list. It is the first to run once that job has ended.
            Until then it runs only if no other job is left, and takes interim values.
    """

    name: str
    run: Callable[[Any, Link], Any]
    follows: str = ""


class Ended(NamedTuple):
    """What a job has returned, and the seconds that it took, by part."""

    result: Any
    times_s: Mapping[str, float]
