"""Slots, compared with placing trials one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.resources import Node
from study.nodes.slots import (
    REFRESH_S,
    Slots,
    allocate_slots,
    count_slots,
    current_slots,
    even_gpu_share,
    loading_processes,
    trials_that_fit,
)


@pytest.mark.parametrize(
    ("flags", "cpus", "gpus", "expected"),
    [
        ({}, 2, 0, (1, 0.0, 2)),
        ({"cpus_per_trial": 2}, 7, 0, (2, 0.0, 3)),
        ({"max_concurrent": 3}, 8, 0, (1, 0.0, 3)),
        ({"max_concurrent": 99}, 8, 0, (1, 0.0, 8)),
        ({}, 8, 1, (1, 0.125, 8)),
        ({}, 16, 1, (1, 0.062, 16)),
        ({}, 8, 8, (1, 1.0, 8)),
        ({"max_concurrent": 2}, 8, 8, (1, 4.0, 2)),
        ({"max_concurrent": 3}, 8, 8, (1, 2.0, 3)),
        ({"gpus_per_trial": 0.25}, 16, 1, (1, 0.25, 4)),
        ({"gpus_per_trial": 0.1}, 16, 1, (1, 0.1, 10)),
        ({"gpus_per_trial": 1}, 16, 4, (1, 1, 4)),
        ({"gpus_per_trial": 0.5, "max_concurrent": 1}, 16, 4, (1, 0.5, 1)),
        ({"gpus_per_trial": 0}, 16, 4, (1, 0, 16)),
    ],
)
def test_a_node_is_divided_into_slots(
    flags: dict[str, Any], cpus: float, gpus: float, expected: tuple[int, float, int]
):
    slots = allocate_slots(StudyConfig(**flags), [Node(cpus=cpus, gpus=gpus)])
    assert (slots.cpus, slots.gpus, slots.count) == expected


@pytest.mark.parametrize(
    ("need", "flags", "expected"),
    [
        (0.01, {}, (0.125, 8)),
        (0.3, {}, (0.333, 3)),
        (0.3334, {}, (0.5, 2)),
        (0.3333, {}, (0.5, 2)),  # a third, in thousandths, is less
        (1.0, {}, (1.0, 1)),
        (0.3, {"gpus_per_trial": 0.1}, (0.1, 8)),
        (0.3, {"max_concurrent": 2}, (0.5, 2)),
    ],
)
def test_a_trial_has_as_much_of_a_gpu_as_it_needs(need: float, flags: dict[str, Any], expected: tuple[float, int]):
    slots = allocate_slots(StudyConfig(**flags), [Node(cpus=8.0, gpus=1.0)], need)
    assert (slots.gpus, slots.count) == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cpus_per_trial": 5}, r"cpus_per_trial must be at most 4, what a node has, got 5\."),
        ({"gpus_per_trial": 3}, r"gpus_per_trial must be at most 2, what a node has, got 3\."),
    ],
)
def test_more_than_a_node_has_is_rejected(flags: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        allocate_slots(StudyConfig(**flags), [Node(cpus=4.0, gpus=2.0), Node(cpus=1.0, gpus=1.0)])


def test_a_share_without_gpus_is_rejected():
    with pytest.raises(UserError, match=r"gpus_per_trial must be at most 0, what a node has, got 0\.5\."):
        allocate_slots(StudyConfig(gpus_per_trial=0.5), [Node(cpus=4.0, gpus=0.0)])


def place_one_by_one(gpus: int, share: float) -> int:
    """Place trials one by one, in Ray's units of a ten-thousandth of a GPU; return their number."""
    units = round(share * 10_000)
    if share >= 1:
        return gpus * 10_000 // units
    free, on_each = 10_000, 0
    while free >= units:
        free, on_each = free - units, on_each + 1
    return gpus * on_each


def gpus_at_work(nodes: list[Node], share: float) -> tuple[int, int]:
    """Place trials of one CPU one by one on the fullest GPU that has room; count the GPUs at work and the trials."""
    units = round(share * 10_000)
    at_work, trials = 0, 0
    for node in nodes:
        free = [10_000] * int(node.gpus)
        for _ in range(int(node.cpus)):
            if share >= 1:
                empty = [gpu for gpu, left in enumerate(free) if left == 10_000][: int(share)]
                if len(empty) < share:
                    break
                for gpu in empty:
                    free[gpu] = 0
                at_work += 1  # a trial computes on one GPU
            else:
                roomy = [gpu for gpu, left in enumerate(free) if left >= units]
                if not roomy:
                    break
                gpu = min(roomy, key=lambda gpu: (free[gpu], gpu))
                at_work += free[gpu] == 10_000
                free[gpu] -= units
            trials += 1
    return at_work, trials


SHARES = [*(1000 // trials / 1000 for trials in range(1, 41)), *range(2, 9)]
GPU_NODES = st.builds(Node, cpus=st.integers(1, 40).map(float), gpus=st.integers(1, 8).map(float))
NODES = st.lists(GPU_NODES | st.builds(Node, cpus=st.integers(0, 64).map(float), gpus=st.just(0.0)), max_size=4)


@given(first=GPU_NODES, others=NODES, need=st.just(0.0) | st.integers(1, 1000).map(lambda number: number / 1000))
def test_no_other_share_keeps_more_gpus_at_work(first: Node, others: list[Node], need: float):
    nodes = [first, *others]
    slots = allocate_slots(StudyConfig(), nodes, need)
    at_work, count = gpus_at_work(nodes, slots.gpus)
    assert slots.count == count
    assert need <= slots.gpus <= max(node.gpus for node in nodes)
    assert (at_work, count) == max(gpus_at_work(nodes, share) for share in SHARES if share >= need)


@given(first=GPU_NODES, others=NODES, more=NODES, need=st.just(0.0) | st.just(0.25))
def test_more_nodes_never_leave_fewer_gpus_at_work(first: Node, others: list[Node], more: list[Node], need: float):
    before, after = (
        gpus_at_work(nodes, allocate_slots(StudyConfig(), nodes, need).gpus)[0]
        for nodes in ([first, *others], [first, *others, *more])
    )
    assert before <= after


@given(first=GPU_NODES, others=NODES, cpus=st.integers(0, 999))
def test_a_node_without_a_gpu_changes_nothing(first: Node, others: list[Node], cpus: int):
    slots = allocate_slots(StudyConfig(), [first, *others])
    assert allocate_slots(StudyConfig(), [first, *others, Node(cpus=float(cpus), gpus=0.0)]) == slots


@given(node=GPU_NODES, need=st.just(0.0) | st.just(0.25), most=st.none() | st.integers(1, 50))
def test_no_gpu_of_a_node_is_idle(node: Node, need: float, most: int | None):
    slots = allocate_slots(StudyConfig(max_concurrent=most), [node], need)
    trials = min(node.cpus, most or node.cpus)
    assert gpus_at_work([Node(cpus=slots.count, gpus=node.gpus)], slots.gpus) == (min(node.gpus, trials), slots.count)
    assert slots.count <= trials


@given(gpus=st.integers(1, 16), share=st.integers(1, 1000).map(lambda parts: parts / 1000) | st.integers(1, 16))
def test_trials_fit_as_they_do_one_by_one(gpus: int, share: float):
    assert trials_that_fit(gpus, share) == place_one_by_one(gpus, share)


@pytest.mark.parametrize("nodes", [[(8, 0)], [(8, 0), (0, 2)]])
def test_without_gpus_the_share_is_nothing(nodes: list[tuple[float, float]]):
    cluster = [Node(cpus=cpus, gpus=gpus) for cpus, gpus in nodes]
    assert even_gpu_share(StudyConfig(), cluster) == 0
    assert trials_that_fit(0, 0.0) == 0
    assert allocate_slots(StudyConfig(), cluster).count == 8


def test_a_given_share_is_on_one_gpu():
    assert allocate_slots(StudyConfig(gpus_per_trial=0.75), [Node(cpus=16.0, gpus=4.0)]).count == 4


@pytest.mark.parametrize(
    ("flags", "nodes", "expected"),
    [
        ({}, [(4, 0), (4, 0)], (0.0, 8)),
        ({"cpus_per_trial": 3}, [(4, 0), (4, 0), (2, 0)], (0.0, 2)),  # a trial's cores are on one node
        ({}, [(4, 1), (4, 1)], (0.25, 8)),
        ({"gpus_per_trial": 2}, [(4, 3), (4, 3)], (2, 2)),  # and so are its GPUs
        ({"gpus_per_trial": 0.5}, [(4, 0), (4, 1)], (0.5, 2)),
        ({"gpus_per_trial": 0}, [(4, 0), (4, 1)], (0, 8)),
        ({"max_concurrent": 3}, [(4, 2), (4, 2)], (1.0, 3)),
        ({}, [(64, 0), (16, 4)], (0.25, 16)),  # a head without a GPU hosts none of the trials
        ({}, [(16, 4), (4, 4)], (1.0, 8)),  # a quarter would leave three of the second node's GPUs idle
        ({}, [(8, 1), (32, 8)], (0.25, 36)),
        ({}, [(1, 8), (64, 8)], (0.125, 65)),  # one CPU keeps one GPU at work
        ({}, [(5, 4)], (1.0, 4)),
        ({}, [(7, 2)], (0.25, 7)),
        ({"cpus_per_trial": 4}, [(3, 8), (8, 1)], (0.5, 2)),
        ({}, [(2000, 1)], (0.001, 1000)),
    ],
)
def test_a_trial_is_on_one_node(flags: dict[str, Any], nodes: list[tuple[float, float]], expected: tuple[float, int]):
    slots = allocate_slots(StudyConfig(**flags), [Node(cpus=cpus, gpus=gpus) for cpus, gpus in nodes])
    assert (slots.gpus, slots.count) == expected


@pytest.mark.parametrize(
    ("asked", "cpus", "on_gpu", "processes"),
    [
        (None, 4, False, 0),
        (None, 4, True, 3),
        (None, 1, True, 0),
        (None, 64, True, 8),
        (5, 2, False, 5),
        (0, 9, True, 0),
    ],
)
def test_images_are_loaded_in_processes_only_for_a_gpu_by_default(
    asked: int | None, cpus: int, on_gpu: bool, processes: int
):
    assert loading_processes(asked, cpus=cpus, on_gpu=on_gpu) == processes


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
def test_the_slots_of_the_nodes_that_are_alive(
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


def test_slots_follow_nodes_that_join_and_leave(alive: list[dict[str, Any]]):
    now = [0.0]
    count = current_slots(StudyConfig(ray_address="auto"), Slots(cpus=1, gpus=0, count=2), lambda: now[0])
    alive.append({"Alive": True, "Resources": {"CPU": 4.0}})
    assert count() == 2
    now[0] += REFRESH_S
    assert count() == 6
    for node in alive:
        node["Alive"] = False
    now[0] += REFRESH_S
    assert count() == 1  # a trial may wait for a node


def test_slots_of_a_local_ray_are_constant(alive: list[dict[str, Any]]):
    assert current_slots(StudyConfig(), Slots(cpus=1, gpus=0, count=7))() == 7
