"""A study on several nodes, one of which joins while it runs and one of which dies: no epoch is lost or repeated."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.storage.paths import StudyPaths
from study.trials.host import read_host
from study.trials.ledger import Status, read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

TRIALS = 16
Folders = Callable[[StudyPaths], list[Path]]


def hosts(folders: list[Path], status: Status | None = None) -> dict[str, str]:
    """By trial, the address of the node that it runs on or ran on last."""
    ended = {folder.name for folder in folders if (folder / "status.json").exists()}
    known = {folder.name: host.address for folder in folders if (host := read_host(folder))}
    return {name: address for name, address in known.items() if status is None or name not in ended}


@pytest.fixture(scope="module")
def eventful(
    cluster: Any,
    commands: Any,
    flags: Callable[..., list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    trial_folders: Folders,
    epochs_of: Callable[[Path], list[int]],
    joined: Any,
    wait_until: Any,
) -> dict[str, Any]:
    """A study on two nodes; a third joins, the second is killed in the middle of a trial. None may fail even once."""
    output = tmp_path_factory.mktemp("nodes")
    results = StudyPaths(output / "demo")
    second = cluster.add()
    with joined(cluster.address) as addresses:
        wait_until(lambda: len(addresses()) == 2, "two nodes")
    words = ["--sampler=random", "--scheduler=none", "--max-epochs=40", f"--num-trials={TRIALS}", "--max-failures=0"]
    started = commands.start("run", *flags(output, *words, "--ray-address", cluster.address))

    def running() -> dict[str, str]:
        return hosts(trial_folders(results), Status.RUNNING)

    started.wait_until(lambda: len(set(running().values())) == 2)
    third = cluster.add()
    started.wait_until(lambda: third.address in running().values())
    at_once = Counter(running().values())

    def caught() -> list[Path]:
        there = [folder for folder in trial_folders(results) if running().get(folder.name) == second.address]
        return [folder for folder in there if 3 <= len(epochs_of(folder)) < 30]

    started.wait_until(lambda: bool(caught()))
    [cut, *_] = caught()
    second.kill()
    before = (cut / "history.jsonl").read_bytes()
    ended = (cut / "status.json").exists()
    return {
        "results": results,
        "at_once": at_once,
        "cut": cut,
        "before": before,
        "cut_had_ended": ended,
        "second": second.address,
        "third": third.address,
        "finished": started.finish(),
    }


def test_all_trials_end_and_none_fails(eventful: dict[str, Any], check_whole: Callable[[Any], None]) -> None:
    finished = eventful["finished"]
    assert (finished.code, finished.err) == (0, "")
    records = read_ledger(eventful["results"].dataset("demo").trials)
    assert len(records) == TRIALS
    for record in records:
        check_whole(record)  # completed, with each epoch once
    rows = list(csv.DictReader(eventful["results"].dataset("demo").trials_table.read_text().splitlines()))
    assert {row["status"] for row in rows} == {"completed"}


def test_trials_ran_on_different_nodes_and_on_the_one_that_came(
    eventful: dict[str, Any], trial_folders: Folders
) -> None:
    assert len(eventful["at_once"]) == 3  # one trial on each of one CPU, the node that came among them
    last = hosts(trial_folders(eventful["results"]))
    assert len(set(last.values())) >= 2
    assert eventful["third"] in last.values()


def test_the_trial_of_a_node_that_died_goes_on_elsewhere_from_its_last_epoch(eventful: dict[str, Any]) -> None:
    assert not eventful["cut_had_ended"]
    host = read_host(eventful["cut"])
    assert host is not None
    assert host.address != eventful["second"]
    after = (eventful["cut"] / "history.jsonl").read_bytes()
    whole = eventful["before"][: eventful["before"].rfind(b"\n") + 1]
    assert after.startswith(whole)
    assert len(after) > len(whole)


def test_it_equals_one_that_ran_alone(
    eventful: dict[str, Any], train_alone: Callable[[Any], Any], timeless: Callable[[Any], list[dict[str, Any]]]
) -> None:
    [record] = [
        one for one in read_ledger(eventful["results"].dataset("demo").trials) if one.trial_id == eventful["cut"].name
    ]
    alone = train_alone(record)
    assert timeless(record) == timeless(alone)
    assert record.best == alone.best
