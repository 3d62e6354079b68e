"""Nodes that join a running study: one that does not share its output ends it, one with GPUs is paid by the hour.

GPUs here are Ray's word alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.storage.paths import StudyPaths
from study.trials.ledger import count_ended, read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

PAID = ["--gpus-per-trial=0", "--scheduler=none", "--max-epochs=3", "--num-trials=500"]


@pytest.fixture
def mounted_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes wait a second for the study to be mounted, not thirty."""
    monkeypatch.setattr("study.nodes.requirements.MOUNT_TIMEOUT_S", 1.0)


@pytest.mark.usefixtures("mounted_within_a_second")
def test_a_late_node_without_the_shared_folder_ends_the_study_which_can_go_on(
    cluster: Any,
    run_here: Callable[..., Any],
    flags: Callable[..., list[str]],
    tmp_path: Path,
    once: Callable[[Path, str], list[str]],
    apart: Callable[[Path], list[str]],
    check_whole: Callable[[Any], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "shared"
    output.mkdir()
    results = StudyPaths(output / "demo")

    def words(num_trials: int) -> list[str]:
        more = ["--scheduler=none", "--max-epochs=20", f"--num-trials={num_trials}", "--max-failures=0"]
        return flags(output, *more)

    late = cluster.add(wrap=[*once(output, "*/history.jsonl"), *apart(output)])
    capfd.readouterr()
    ended = run_here(*words(500), "--ray-address", cluster.address)
    assert capfd.readouterr().err == ""  # nor does Ray's own code print anything
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


def test_a_study_ends_with_its_gpu_hours_and_is_whole(
    cluster: Any,
    run_here: Callable[..., Any],
    flags: Callable[..., list[str]],
    joined: Callable[[str], Any],
    wait_until: Callable[..., None],
    once: Callable[[Path, str], list[str]],
    tmp_path: Path,
) -> None:
    words = [*flags(tmp_path, *PAID), "--ray-address", cluster.address]
    with joined(cluster.address) as alive:
        wait_until(lambda: len(alive()) == 1, "a node that was killed is gone")
    refused = run_here(*words, "--max-gpu-hours", "1")
    assert refused.code == 2
    assert "error: --max-gpu-hours needs a cluster with GPUs, got none; --time-budget ends" in refused.err
    assert not (tmp_path / "demo").exists()

    second = cluster.add("--num-gpus=1")
    with joined(cluster.address) as alive:
        wait_until(lambda: second.address in alive(), "a node with a GPU joins")
    cluster.add("--num-gpus=10000", wrap=once(tmp_path, "*/history.jsonl"))
    ended = run_here(*words, "--max-gpu-hours", "2")  # of the GPU that was there first, or 0.7 s of those that join
    assert "error:" not in ended.err  # Ray itself may say that it called an actor off
    assert "hint: the cluster has 1 GPU, which --gpus-per-trial 0 leaves idle" in ended.out
    assert "demo: the GPU hours were used up before 500 trials had ended; --resume continues" in ended.out
    records = read_ledger(StudyPaths(tmp_path / "demo").dataset("demo").trials)
    assert len(records) > 0
    assert count_ended(records) < 500
    for record in records:
        assert [epoch["epoch"] for epoch in record.history] == list(range(1, len(record.history) + 1))
