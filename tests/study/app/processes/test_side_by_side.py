"""Jobs in worker processes and in this process: the same results, errors as they were raised, no process left."""

import errno
import os
import pickle
import signal
import time
from collections.abc import Iterator
from functools import partial
from io import StringIO
from multiprocessing import active_children
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from pan_model.errors import MachineFault, UserError
from study.app.processes.jobs import Job, Link
from study.app.processes.side_by_side import _take_next, run_jobs
from study.app.processes.worker_process import Worker, portable
from study.terminal import Terminal

TWO = [Worker(num_threads=1)] * 2


class Silent(Link):
    """A link that reports to nobody."""

    def say(self, line: str) -> None:
        """Do nothing."""

    def show(self, make: Any) -> None:
        """Do nothing."""

    def announce(self, value: Any) -> None:
        """Do nothing."""

    def followed(self) -> Iterator[Any]:
        """Yield nothing."""
        return iter(())


def total(shared: dict[str, Any], link: Link, *, times: int) -> tuple[float, int, bool]:
    """Use the shared array, in a product whose rounding depends on the number of threads."""
    with link.timed("adding"):
        matrix = torch.from_numpy(shared["matrix"].copy())
    link.say(f"added {times}")
    return float((matrix @ matrix.T).sum()) * times, torch.get_num_threads(), shared["matrix"].flags.writeable


def grow(_shared: Any, link: Link) -> int:
    """Announce three numbers, of which the last is the result."""
    for number in (1, 2, 3):
        link.announce(number)
        time.sleep(0.05)
    return 3


def follow(_shared: Any, link: Link) -> list[tuple[int, bool]]:
    """Return all that the followed job announced."""
    return [tuple(announced) for announced in link.followed()]


def refuse(_shared: Any, _link: Link) -> None:
    """Fail as a job does whose input is wrong."""
    raise UserError("the cache is full.")


def die(_shared: Any, _link: Link) -> None:
    """Die as a process does when memory is full."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait(_shared: Any, _link: Link) -> None:
    """Stay longer than any test."""
    time.sleep(600)


def terminal() -> tuple[Terminal, StringIO]:
    text = StringIO()
    return Terminal(Console(file=text, width=200)), text


@pytest.fixture
def shared() -> dict[str, Any]:
    return {"matrix": np.random.default_rng(0).standard_normal((300, 500)).astype(np.float32), "empty": np.zeros(0)}


JOBS = [
    Job(name="grow", run=grow),
    *(Job(name=f"total {times}", run=partial(total, times=times)) for times in (1, 2)),
    Job(name="follow", run=follow, follows="grow"),
]


@pytest.mark.slow
def test_workers_return_what_this_process_does(shared: dict[str, Any]):
    (screen, text), here = terminal(), run_jobs(JOBS, shared, [], terminal()[0], num_threads=1)
    there = run_jobs(JOBS, shared, TWO, screen, num_threads=1)
    assert list(here) == ["grow", "follow", "total 1", "total 2"]
    assert here.keys() == there.keys()
    for name in ("total 1", "total 2"):
        assert there[name].result[:2] == here[name].result[:2]
        assert (here[name].result[2], there[name].result[2]) == (True, False), "workers map the array"
        assert there[name].times_s.keys() == {"adding"}
    assert here["follow"].result == [(3, True)]
    assert there["follow"].result[-1] == (3, True)
    assert there["follow"].result[:-1] == sorted(there["follow"].result[:-1])
    assert sorted(text.getvalue().splitlines()) == ["added 1", "added 2"]
    assert active_children() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fail", "rule"),
    [
        (refuse, r"^the cache is full\.$"),
        (die, r"^failing: its process ended by SIGKILL, .* --jobs 1\.$"),
    ],
)
def test_an_error_in_a_worker_ends_all(shared: dict[str, Any], fail: Any, rule: str):
    jobs = [Job(name="waiting", run=wait), Job(name="failing", run=fail)]
    with pytest.raises(UserError, match=rule):
        run_jobs(jobs, shared, TWO, terminal()[0], num_threads=1)
    assert active_children() == []


def test_the_order_puts_a_following_job_last_until_it_can_run():
    queue, order = [JOBS[3], *JOBS[:3]], list[str]()
    while job := _take_next(queue, {}):
        order.append(job.name)
    assert order == ["grow", "total 1", "total 2", "follow"]
    queue = list(JOBS[1:])
    first = _take_next(queue, {"grow": 3})
    assert first is not None
    assert first.name == "follow"


def test_the_fault_behind_an_error_crosses_to_another_process():
    try:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b")
        except OSError as full:
            raise RuntimeError("cannot be written") from full
    except RuntimeError as error:
        fault = pickle.loads(pickle.dumps(portable(error)))
    assert isinstance(fault, MachineFault)
    assert str(fault) == "a/b: No space left on device; make room there"


class TwoArguments(Exception):
    """An error that cannot be unpickled."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


@pytest.mark.parametrize(("error", "kind"), [(KeyError("x"), KeyError), (TwoArguments(1, 2), RuntimeError)])
def test_a_defect_keeps_its_traceback(error: Exception, kind: type[Exception]):
    try:
        raise error
    except Exception as raised:
        arrived = pickle.loads(pickle.dumps(portable(raised)))
    assert type(arrived) is kind
    assert "test_a_defect_keeps_its_traceback" in "".join([str(arrived), *getattr(arrived, "__notes__", [])])


def test_a_part_is_timed_as_often_as_it_runs():
    link = Silent()
    for _ in range(2):
        with link.timed("part"):
            time.sleep(0.001)
    assert link.times_s["part"] >= 0.002
