"""A study that runs in another process while study/collate.py and study/status.py read its files."""

import csv
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from study.app.commands import collate_command, status_command
from study.storage.paths import StudyPaths
from study.trials.ledger import read_ledger

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(commands: Any, flags: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A study that runs on while it is looked at, then is killed."""
    output = tmp_path_factory.mktemp("running")
    words = flags(output, "--scheduler=none", "--max-epochs=20", "--num-trials=500", "--executor=serial")
    started = commands.start("run", *words)
    results = StudyPaths(output / "demo")
    started.wait_until(lambda: any(record.history for record in read_ledger(results.dataset("demo").trials)))
    yield started, results
    started.kill()


def test_running_study_has_tables_and_runs_on(running: Any, run_here: Callable[..., Any]) -> None:
    started, results = running

    def rows_of_now() -> list[dict[str, str]]:
        again = run_here(results.root, command=collate_command)
        assert (again.code, again.err) == (0, "")
        return list(csv.DictReader(results.dataset("demo").trials_table.read_text().splitlines()))

    started.wait_until(lambda: "running" in {row["status"] for row in rows_of_now()})  # and not between two trials
    rows = list(csv.DictReader(results.dataset("demo").trials_table.read_text().splitlines()))
    assert float(rows[0]["metric"]) > 0
    epochs = [
        int(row["epoch"])
        for row in csv.DictReader(results.dataset("demo").history_table.read_text().splitlines())
        if row["trial_id"] == rows[0]["trial_id"]
    ]
    assert epochs == list(range(1, len(epochs) + 1))
    spent = sum(len(record.history) for record in read_ledger(results.dataset("demo").trials))
    started.wait_until(lambda: sum(len(one.history) for one in read_ledger(results.dataset("demo").trials)) > spent)


def test_running_study_says_where_it_is(running: Any, run_here: Callable[..., Any]) -> None:
    started, results = running
    said: list[str] = []

    def tells_of_a_running_trial() -> bool:
        now = run_here(results.root, command=status_command)
        assert (now.code, now.err) == (0, "")
        said[:] = now.out.splitlines()
        return any(line.startswith("  running: trial ") and "epoch 0/" not in line for line in said)

    files = {path for path in results.root.rglob("*") if "trials" not in path.parts}
    started.wait_until(tells_of_a_running_trial)
    assert said[0].startswith("study demo, begun ")
    assert said[1].startswith("running since ")
    assert "/500 trials, " in said[2]
    assert "last epoch " in said[-1]
    written = {path for path in results.root.rglob("*") if "trials" not in path.parts} - files
    assert all("tensorboard" in path.parts or path.name.startswith((".optuna", "optuna")) for path in written)
