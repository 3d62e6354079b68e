"""A node that joins a running study and does not share its output: it ends with a line, goes on without the node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.storage.paths import StudyPaths
from study.trials.ledger import read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def test_a_late_node_without_the_shared_folder_ends_the_study_which_can_go_on(
    cluster: Any,
    commands: Any,
    run_here: Callable[..., Any],
    flags: Callable[..., list[str]],
    tmp_path: Path,
    apart: Callable[[Path], list[str]],
    check_whole: Callable[[Any], None],
) -> None:
    output = tmp_path / "shared"
    output.mkdir()
    results = StudyPaths(output / "demo")

    def words(num_trials: int) -> list[str]:
        more = ["--scheduler=none", "--max-epochs=20", f"--num-trials={num_trials}", "--max-failures=0"]
        return flags(output, *more)

    started = commands.start("run", *words(500), "--ray-address", cluster.address)
    started.wait_until(lambda: any(record.history for record in read_ledger(results.dataset("demo").trials)))
    late = cluster.add(wrap=apart(output))
    ended = started.finish()
    late.kill()
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    assert f"error: node {late.address} (" in ended.err
    assert f"does not share {results.study}, it is not there; give --output on a file system that all" in ended.err
    assert "All finished epochs are saved; resume with --resume." in ended.err
    begun = read_ledger(results.dataset("demo").trials)
    again = run_here(*words(len(begun)), "--resume", "--executor=serial")
    assert (again.code, again.err) == (0, "")
    for record in read_ledger(results.dataset("demo").trials):
        check_whole(record)
