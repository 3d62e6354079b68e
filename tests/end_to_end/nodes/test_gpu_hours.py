"""A study ends when its cluster's GPUs were there for as long as it may pay for; GPUs here are Ray's word alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.storage.paths import StudyPaths
from study.trials.ledger import count_ended, read_ledger

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

PAID = ["--gpus-per-trial=0", "--scheduler=none", "--max-epochs=3", "--num-trials=500"]


def test_a_study_ends_with_its_gpu_hours_and_is_whole(
    cluster: Any,
    commands: Any,
    flags: Callable[..., list[str]],
    joined: Callable[[str], Any],
    wait_until: Callable[..., None],
    tmp_path: Path,
) -> None:
    words = [*flags(tmp_path, *PAID), "--ray-address", cluster.address]
    refused = commands.run("run", *words, "--max-gpu-hours", "1")
    assert refused.code == 2
    assert "error: --max-gpu-hours needs a cluster with GPUs, got none; --time-budget ends" in refused.err
    assert not (tmp_path / "demo").exists()

    second = cluster.add("--num-gpus=100")
    with joined(cluster.address) as alive:
        wait_until(lambda: second.address in alive(), "a node with GPUs joins")
    ended = commands.run("run", *words, "--max-gpu-hours", "0.7")  # of 100 GPUs: 25 s
    assert "error:" not in ended.err  # Ray itself may say that it called an actor off
    assert "hint: the cluster has 100 GPUs, which --gpus-per-trial 0 leaves idle" in ended.out
    assert "demo: the GPU hours were used up before 500 trials had ended; --resume continues" in ended.out
    records = read_ledger(StudyPaths(tmp_path / "demo").dataset("demo").trials)
    assert len(records) > 0
    assert count_ended(records) < 500
    for record in records:
        assert [epoch["epoch"] for epoch in record.history] == list(range(1, len(record.history) + 1))
