"""As many trials as the cluster takes now; nodes are played by numbers."""

from typing import Any

import pytest

from study.config.study_config import StudyConfig
from study.nodes.node import Node
from study.nodes.slot_limit import ASKED_EVERY_S, current_slots
from study.nodes.slots import Slots, count_slots


@pytest.mark.parametrize(
    ("flags", "share", "nodes", "count"),
    [
        ({}, 0.0, [(2, 0), (3, 0)], 5),
        ({"cpus_per_trial": 2}, 0.0, [(2, 0), (3, 0)], 2),
        ({"max_concurrent": 4}, 0.0, [(2, 0), (3, 0)], 4),
        ({}, 0.5, [(4, 0), (4, 1)], 2),
        ({}, 1.0, [(4, 0)], 0),
    ],
)
def test_the_slots_of_the_nodes_that_are_there(
    flags: dict[str, int], share: float, nodes: list[tuple[int, int]], count: int
):
    study = StudyConfig(**flags)  # pyright: ignore[reportArgumentType]
    slots = Slots(cpus=study.cpus_per_trial, gpus=share, count=1)
    assert count_slots(study, slots, [Node(cpus=cpus, gpus=gpus) for cpus, gpus in nodes]) == count


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}]
    monkeypatch.setattr("ray.nodes", lambda: list(nodes))
    return nodes


def test_nodes_that_come_and_go_are_seen_after_seconds(alive: list[dict[str, Any]]):
    now = [0.0]
    count = current_slots(StudyConfig(ray_address="auto"), Slots(cpus=1, gpus=0, count=2), lambda: now[0])
    alive.append({"Alive": True, "Resources": {"CPU": 4.0}})
    assert count() == 2
    now[0] += ASKED_EVERY_S
    assert count() == 6
    for node in alive:
        node["Alive"] = False
    now[0] += ASKED_EVERY_S
    assert count() == 1  # a trial may wait for a node


def test_a_ray_of_this_machine_stays_as_it_is(alive: list[dict[str, Any]]):
    assert current_slots(StudyConfig(), Slots(cpus=1, gpus=0, count=7))() == 7
