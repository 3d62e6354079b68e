import json
from pathlib import Path
from typing import Any

import pytest

from study.nodes.on_premise import LIMIT_S, count_machines, wait_for_machines


def bootstrap(tmp_path: Path, provider: str, kind: dict[str, Any]) -> Path:
    file = tmp_path / "ray_bootstrap_config.yaml"
    cluster = {"provider": {"type": provider}, "available_node_types": {"node": kind}}
    file.write_text(json.dumps(cluster), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("provider", "kind", "number"),
    [("local", {"min_workers": 2}, 3), ("local", {}, 1), ("aws", {"min_workers": 2}, 1)],
)
def test_machines_of_ones_own_are_counted(tmp_path: Path, provider: str, kind: dict[str, Any], number: int):
    assert count_machines(bootstrap(tmp_path, provider, kind)) == number


def test_no_cluster_is_one_machine():
    assert count_machines(None) == 1


def wait(joined: list[int]) -> tuple[list[str], float]:
    """Wait for 3, where joined says how many are there after each look; gives what was said and the time it took."""
    now_s, said = [0.0], list[str]()

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    wait_for_machines(3, lambda: joined.pop(0) if len(joined) > 1 else joined[0], said.append, lambda: now_s[0], sleep)
    return said, now_s[0]


def test_where_all_are_there_nothing_is_said():
    assert wait([3]) == ([], 0)


def test_workers_that_follow_are_waited_for():
    said, took_s = wait([1, 1, 2, 3])
    assert len(said) == 1
    assert said[0].startswith("1 of 3 machines have joined the cluster: waiting for the others, at most 10 minutes")
    assert 0 < took_s < 60


def test_a_machine_that_is_off_is_not_waited_for_for_ever():
    said, took_s = wait([2])
    assert said[-1] == "going on with 2 of 3 machines; take those that are off out of worker_ips."
    assert took_s == pytest.approx(LIMIT_S, abs=5)
