"""A study that is interrupted by a person, a scheduler or its time budget ends in good order and goes on."""

import csv
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from study.storage.driver_file import DriverState, read_driver
from study.storage.paths import StudyPaths
from study.trials.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1200)]

LONG = ("--scheduler=none", "--max-epochs=20", "--num-trials=3")
Folders = Callable[[StudyPaths], list[Path]]
States = Callable[[StudyPaths], dict[str, TrialState]]


@pytest.fixture(scope="module")
def interrupted(
    commands: Any,
    run_here: Callable[..., Any],
    flags: Callable[..., list[str]],
    tmp_path_factory: pytest.TempPathFactory,
    epochs_of: Callable[[Path], list[int]],
    trial_folders: Folders,
) -> dict[str, Any]:
    """A study after Ctrl-C, then SIGTERM, both on Ray; then a short time budget and to its end, both without Ray."""
    output = tmp_path_factory.mktemp("interrupted")
    results = StudyPaths(output / "demo")

    def epochs() -> dict[str, list[int]]:
        return {folder.name: epochs_of(folder) for folder in trial_folders(results)}

    def count() -> int:
        return sum(map(len, epochs().values()))

    first = commands.start("run", *flags(output, *LONG, "--max-concurrent=1"), "--resume")
    first.wait_until(lambda: count() >= 2)
    os.killpg(first.process.pid, signal.SIGINT)  # as a terminal does: to all processes of the foreground
    seen: dict[str, Any] = {
        "results": results,
        "SIGINT": first.finish(),
        "epochs": [epochs()],
        "driver": read_driver(results),
    }
    left = seen["SIGINT"].err.strip().splitlines()[-1]
    assert "study/run.py" in left, seen["SIGINT"]
    words = shlex.split(left.partition("study/run.py ")[2])
    second = commands.start("run", *words)
    before = count()
    second.wait_until(lambda: count() >= before + 2)
    second.process.send_signal(signal.SIGTERM)
    seen["SIGTERM"] = second.finish()
    seen["epochs"].append(epochs())
    seen["tables"] = list(csv.DictReader(results.dataset("demo").trials_table.read_text().splitlines()))
    seen["budget"] = run_here(*words, "--executor=serial", "--time-budget=1s")
    seen["epochs"].append(epochs())
    seen["end"] = run_here(*words, "--executor=serial")
    seen["epochs"].append(epochs())
    return seen


def has_child(pid: int, name: str) -> bool:
    """Return whether a thread of a process has a child of this name."""
    children = [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return any(name in Path(f"/proc/{child}/comm").read_text() for child in children if Path(f"/proc/{child}").exists())


def test_sigterm_while_ray_starts_ends_with_one_line_and_leaves_nothing(
    commands: Any, flags: Callable[..., list[str]], tmp_path: Path
) -> None:
    started = commands.start("run", *flags(tmp_path / "results", *LONG))
    pid = started.process.pid
    started.wait_until(lambda: has_child(pid, "gcs_server"))
    started.process.send_signal(signal.SIGTERM)
    ended = started.finish()
    assert (ended.code, ended.err.count("\n")) == (130, 1)
    assert ended.err.startswith("interrupted; ")
    assert not (tmp_path / "results").exists()


def test_resume_without_a_study_starts_one_and_says_so(interrupted: dict[str, Any]) -> None:
    output = interrupted["results"].root.parent
    assert f"no study demo in {output} yet: starting it" in interrupted["SIGINT"].out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupt_ends_with_130_and_one_line(interrupted: dict[str, Any], name: str) -> None:
    assert interrupted[name].code == 130
    [line] = interrupted[name].err.splitlines()
    assert line.startswith("interrupted; all finished epochs are saved; resume with: uv run study/run.py ")
    assert line.endswith(" --resume")


def test_the_driver_says_how_it_ended_and_the_command_of_that_line(interrupted: dict[str, Any]) -> None:
    driver, last = interrupted["driver"], read_driver(interrupted["results"])
    assert (driver.state, driver.reason) == (DriverState.INTERRUPTED, "Ctrl-C")
    assert interrupted["SIGINT"].err.strip().endswith(f"resume with: {driver.resume}")
    assert last is not None
    assert last.state is DriverState.DONE


def test_the_command_of_that_line_goes_on(interrupted: dict[str, Any]) -> None:
    assert "resuming study demo" in interrupted["SIGTERM"].out


def test_interrupted_study_has_its_tables(interrupted: dict[str, Any]) -> None:
    assert {row["trial_id"] for row in interrupted["tables"]} == set(interrupted["epochs"][1])


def test_time_budget_ends_in_good_order(interrupted: dict[str, Any]) -> None:
    budget = interrupted["budget"]
    completed = re.search(r" [1-3] completed", budget.out) is not None
    assert (budget.code, budget.err) == (0 if completed else 1, "")
    assert "next:" in budget.out.splitlines()


def test_every_run_keeps_the_epochs_of_the_one_before(interrupted: dict[str, Any]) -> None:
    for before, after in zip(interrupted["epochs"], interrupted["epochs"][1:], strict=False):
        for name, epochs in before.items():
            assert after[name][: len(epochs)] == epochs


def test_study_interrupted_again_and_again_comes_to_its_end(
    interrupted: dict[str, Any], states: States, check_whole: Callable[[Any], None]
) -> None:
    assert (interrupted["end"].code, interrupted["end"].err) == (0, "")
    records = read_ledger(interrupted["results"].dataset("demo").trials)
    assert len(records) == 3
    for record in records:
        check_whole(record)
    assert set(states(interrupted["results"]).values()) == {TrialState.COMPLETE}
