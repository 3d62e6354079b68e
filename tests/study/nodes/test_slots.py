"""How a cluster is cut into trials, compared with putting them there one by one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.node import Node
from study.nodes.slots import allocate_slots, even_gpu_share, loading_processes, trials_that_fit


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
def test_a_cluster_is_shared_out(flags: dict[str, Any], cpus: float, gpus: float, expected: tuple[int, float, int]):
    slots = allocate_slots(StudyConfig(**flags), [Node(cpus=cpus, gpus=gpus)])
    assert (slots.cpus, slots.gpus, slots.count) == expected


@pytest.mark.parametrize(
    ("need", "flags", "expected"),
    [
        (0.01, {}, (0.125, 8)),
        (0.3, {}, (0.3, 3)),
        (0.3334, {}, (0.334, 2)),
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
def test_more_than_there_is_cannot_be_had(flags: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        allocate_slots(StudyConfig(**flags), [Node(cpus=4.0, gpus=2.0), Node(cpus=1.0, gpus=1.0)])


def test_without_gpus_there_is_no_part_of_one():
    with pytest.raises(UserError, match=r"gpus_per_trial must be at most 0, what a node has, got 0\.5\."):
        allocate_slots(StudyConfig(gpus_per_trial=0.5), [Node(cpus=4.0, gpus=0.0)])


def place_one_by_one(gpus: int, share: float) -> int:
    """Trials that are put one after another where there is room, in Ray's units of a ten-thousandth."""
    units = round(share * 10_000)
    if share >= 1:
        return gpus * 10_000 // units
    free, on_each = 10_000, 0
    while free >= units:
        free, on_each = free - units, on_each + 1
    return gpus * on_each


@given(gpus=st.integers(1, 16), per_gpu=st.integers(1, 64), less=st.integers(0, 63))
def test_so_many_trials_of_an_even_share_fit(gpus: int, per_gpu: int, less: int):
    count = max(1, gpus * per_gpu - less)
    share = even_gpu_share(gpus, count)
    assert place_one_by_one(gpus, share) >= count
    assert trials_that_fit(gpus, share) >= count


@given(gpus=st.integers(1, 16), count=st.integers(1, 512))
def test_an_even_share_is_whole_gpus_or_a_part_of_one_and_little_is_left(gpus: int, count: int):
    share = even_gpu_share(gpus, count)
    assert 0 < share < 1 or share.is_integer()
    if share >= 1:
        assert count * (share + 1) > gpus
    else:
        assert place_one_by_one(gpus, share + 0.001) < count


@given(gpus=st.integers(1, 16), share=st.integers(1, 1000).map(lambda parts: parts / 1000) | st.integers(1, 16))
def test_trials_fit_as_they_do_one_by_one(gpus: int, share: float):
    assert trials_that_fit(gpus, share) == place_one_by_one(gpus, share)


@given(count=st.integers(1, 512))
def test_without_gpus_the_share_is_nothing(count: int):
    assert even_gpu_share(0, count) == 0
    assert trials_that_fit(0, 0.0) == 0


@given(cpus=st.integers(1, 64), gpus=st.integers(0, 16), most=st.none() | st.integers(1, 64))
def test_all_slots_fit_on_the_gpus(cpus: int, gpus: int, most: int | None):
    slots = allocate_slots(StudyConfig(max_concurrent=most), [Node(cpus=float(cpus), gpus=float(gpus))])
    assert slots.count == min(cpus, most or cpus)
    assert gpus == 0 or place_one_by_one(gpus, slots.gpus) >= slots.count


def test_a_given_share_lies_on_one_gpu():
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
    ],
)
def test_a_trial_lies_on_one_node(flags: dict[str, Any], nodes: list[tuple[float, float]], expected: tuple[float, int]):
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
def test_pictures_are_loaded_beside_a_gpu_unless_told_otherwise(
    asked: int | None, cpus: int, on_gpu: bool, processes: int
):
    assert loading_processes(asked, cpus=cpus, on_gpu=on_gpu) == processes
