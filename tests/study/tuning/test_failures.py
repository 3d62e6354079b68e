"""Failures that count and losses that do not; nodes are played by a set of those that are there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.trials.host import TrialHost, read_host, write_host
from study.trials.ledger import Status, read_ledger
from study.trials.trial import TrialPlace
from study.tuning.failures import FailureCount


class Trial:
    """As much of Tune's trial as is looked at: it counts every failure, and goes on while they are not too many."""

    def __init__(self) -> None:
        self.config = {"trial_id": "id-a", "number": 0, "config": {"encoder": "siamese"}}
        self.num_failures, self.max_failures = 0, 1
        self.error = ""

    def should_recover(self) -> bool:
        return self.num_failures <= self.max_failures

    def get_error(self) -> str:
        return self.error


@pytest.fixture
def place(tmp_path: Path) -> TrialPlace:
    return TrialPlace(root=tmp_path, dataset="demo", num_threads=1)


@pytest.fixture
def fail(place: TrialPlace) -> Callable[..., tuple[Trial, list[bool]]]:
    """Let a trial fail on one node after another, "" for a worker that dies at its start; tells whether it goes on."""

    def run(max_failures: int, *nodes: str, there: str = "h", error: str = "it died") -> tuple[Trial, list[bool]]:
        trial, count = Trial(), FailureCount(place, max_failures, lambda node: node in there)
        goes_on: list[bool] = []
        for node in nodes:
            if node:
                host = TrialHost(node_id=node, address=f"10.0.0.{node}", hostname=node, pid=1)
                write_host(place.ledger("id-a").folder, host)
            trial.num_failures, trial.error = trial.num_failures + 1, error
            count.count(trial)
            goes_on.append(trial.should_recover() and not read_ledger(place.results.trials))
        return trial, goes_on

    return run


@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_a_trial_may_fail_as_often_as_is_allowed(fail: Any, place: TrialPlace, most: int):
    _, goes_on = fail(most, *"h" * (most + 1))
    assert goes_on == [True] * most + [False]
    [record] = read_ledger(place.results.trials)
    assert (record.status, record.config) == (Status.FAILED, {"encoder": "siamese"})
    assert record.error == f"given up after {most + 1} failures: it died"


@pytest.mark.parametrize("most", [0, 2])
def test_a_node_may_go_as_often_as_it_likes(fail: Any, place: TrialPlace, most: int):
    trial, goes_on = fail(most, *"abcdefg")
    assert goes_on == [True] * 7
    assert trial.should_recover()
    assert read_ledger(place.results.trials) == []


def test_losses_between_failures_are_not_counted(fail: Any, place: TrialPlace):
    _, goes_on = fail(1, *"ahbch")
    assert goes_on == [True] * 4 + [False]
    assert read_ledger(place.results.trials)[0].error == "given up after 2 failures: it died"


def test_a_worker_that_dies_before_it_says_where_has_failed(fail: Any):
    _, goes_on = fail(2, "a", "", "", "")  # what was known of its last node is forgotten
    assert goes_on == [True, True, True, False]


def test_a_trial_that_was_given_up_cannot_go_on_for_ever(fail: Any, place: TrialPlace):
    trial, _ = fail(1, *"hhh")
    assert not trial.should_recover()
    assert read_ledger(place.results.trials)[0].error == "given up after 2 failures: it died"  # the first word stands


def test_a_failure_is_told_by_its_last_line(fail: Any, place: TrialPlace):
    fail(0, "h", error="Traceback:\n  File ..\nOSError: no space left\n")
    assert read_ledger(place.results.trials)[0].error == "given up after 1 failures: OSError: no space left"


def test_where_a_trial_runs_is_read_back(place: TrialPlace):
    folder, host = place.ledger("id-a").folder, TrialHost(node_id="a", address="10.0.0.1", hostname="one", pid=7)
    assert read_host(folder) is None
    write_host(folder, host)
    assert read_host(folder) == host
