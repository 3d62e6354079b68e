"""Slots: divide the CPUs and GPUs of a cluster among trials."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch

from pan_model.command_line import counted
from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.resources import Node

REFRESH_S = 5.0
"""Time that a count of slots is valid before Ray is queried again."""


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Equal slots, one for each trial that runs at a time.

    Attributes:
        cpus: The CPUs of a slot.
        gpus: The GPUs of a slot: a share of one GPU, or whole GPUs.
        count: The number of slots.
    """

    cpus: int
    gpus: float
    count: int


def allocate_slots(study: StudyConfig, nodes: Sequence[Node], need: float = 0.0) -> Slots:
    """Divide a cluster into equal slots, one for each trial that runs at a time.

    Without a GPU, a node holds as many trials as its CPUs allow. With GPUs, only nodes that have both CPUs and GPUs for
    a trial count. Unless the study sets `gpus_per_trial`, the GPU share is that of `even_gpu_share`.

    Args:
        study: Supplies `cpus_per_trial`, `gpus_per_trial` and `max_concurrent`.
        nodes: The nodes that trials may use.
        need: The smallest share of a GPU that a trial can run with. It does not bound a share that the study sets.

    Returns:
        The slot of a trial and the number of slots.

    Raises:
        UserError: If no node can run a single trial.
    """
    largest_cpus, largest_gpus = max(node.cpus for node in nodes), max(node.gpus for node in nodes)
    if study.cpus_per_trial > largest_cpus:
        raise UserError(
            f"cpus_per_trial must be at most {largest_cpus:g}, what a node has, got {study.cpus_per_trial}."
        )
    if (study.gpus_per_trial or 0) > largest_gpus:
        raise UserError(
            f"gpus_per_trial must be at most {largest_gpus:g}, what a node has, got {study.gpus_per_trial:g}."
        )
    share = even_gpu_share(study, nodes, need) if study.gpus_per_trial is None else study.gpus_per_trial
    slots = Slots(cpus=study.cpus_per_trial, gpus=share, count=0)
    if (count := count_slots(study, slots, nodes)) == 0:
        raise UserError(
            f"no node has room for a trial of {counted(study.cpus_per_trial, 'CPU')} and {counted(share, 'GPU')}; "
            "give fewer with --cpus-per-trial or --gpus-per-trial."
        )
    return replace(slots, count=count)


def count_slots(study: StudyConfig, slots: Slots, nodes: Sequence[Node]) -> int:
    """Return the number of trials that run at a time on the nodes.

    Args:
        study: Supplies `cpus_per_trial` and `max_concurrent`.
        slots: The size of a slot.
        nodes: The nodes that trials may use.
    """
    count = sum(_trials_on_node(study, slots.gpus, node) for node in nodes)
    return min(count, study.max_concurrent or count)


def current_slots(study: StudyConfig, slots: Slots, clock: Callable[[], float] = time.monotonic) -> Callable[[], int]:
    """Return a function that counts the slots of the nodes that a cluster has now.

    The count includes nodes that joined and excludes nodes that were lost. It is at least 1, so that a trial waits for
    a node if none is left. It is constant if the study started Ray itself.

    Args:
        study: Supplies the address of the cluster.
        slots: The slot of a trial, and the first count.
        clock: Returns the time in seconds.
    """
    if study.ray_address is None:
        return lambda: slots.count
    from study.nodes.ray_session import usable_nodes  # loads Ray, which takes seconds

    current, counted_s = slots.count, clock()

    def count() -> int:
        nonlocal current, counted_s
        if clock() - counted_s >= REFRESH_S:
            current, counted_s = max(1, count_slots(study, slots, usable_nodes(study.ray_address))), clock()
        return current

    return count


def even_gpu_share(study: StudyConfig, nodes: Sequence[Node], need: float = 0.0) -> float:
    """Return the GPU share of each trial that leaves the fewest GPUs idle and then runs the most trials.

    A share is a fraction of one GPU that an equal number of trials fill (1, 1/2, 1/3 and so on), or several whole GPUs
    where trials are fewer than GPUs. All trials of a study have the same share. Nodes without a GPU, or with too few
    CPUs for a trial, do not affect it.

    Args:
        study: Supplies `cpus_per_trial` and `max_concurrent`.
        nodes: The nodes that trials may use.
        need: The smallest share of a GPU that a trial can run with, at most 1.

    Returns:
        The share, rounded down to thousandths; 0 if no node can host a GPU trial.

    >>> cpu_node, gpu_node = Node(cpus=64, gpus=0), Node(cpus=16, gpus=4)
    >>> even_gpu_share(StudyConfig(), [cpu_node, gpu_node]), even_gpu_share(StudyConfig(), [cpu_node])
    (0.25, 0.0)
    """
    hosts = [node for node in nodes if _cpu_room(study, node) and node.gpus >= 1]
    if not hosts:
        return 0.0
    most_per_gpu = max(math.ceil(_cpu_room(study, node) / int(node.gpus)) for node in hosts)
    fractions = [math.floor(1000 / trials) / 1000 for trials in range(1, min(most_per_gpu, 1000) + 1)]
    shares = [*fractions, *map(float, range(2, int(max(node.gpus for node in hosts)) + 1))]
    return max((share for share in shares if share >= need), key=lambda share: _rank_share(study, hosts, share))


def _rank_share(study: StudyConfig, nodes: Sequence[Node], share: float) -> tuple[int, int, float]:
    """Return the number of GPUs at work, the number of trials and the share; the largest tuple is best.

    Ray fills a GPU with trials before it takes the next one, and a trial computes on one GPU even if it holds several.
    """
    per_gpu = max(1, trials_that_fit(1, share))
    on_gpus: list[int] = []
    for node in nodes:
        full, rest = divmod(_trials_on_node(study, share, node), per_gpu)
        on_gpus += [per_gpu] * full + [rest]
    count = min(sum(on_gpus), study.max_concurrent or sum(on_gpus))
    running_before = accumulate(sorted(on_gpus, reverse=True), initial=0)
    return sum(before < count for before in running_before), count, share


def _trials_on_node(study: StudyConfig, share: float, node: Node) -> int:
    return min(_cpu_room(study, node), trials_that_fit(node.gpus, share)) if share else _cpu_room(study, node)


def _cpu_room(study: StudyConfig, node: Node) -> int:
    return int(node.cpus // study.cpus_per_trial)


def loading_processes(given: int | None, *, cpus: int, on_gpu: bool) -> int:
    """Return how many processes load images for a process that trains.

    Unless `given`, this is one less than its CPUs, at most 8. On a CPU it is 0, since loaders would slow the training.

    >>> loading_processes(3, cpus=1, on_gpu=False), loading_processes(None, cpus=4, on_gpu=True)
    (3, 3)
    """
    if given is not None:
        return given
    return min(cpus - 1, 8) if on_gpu else 0


def loading_processes_here(given: int | None) -> int:
    """Return `loading_processes` for this process, which trains on all CPUs, and on a GPU if one is available."""
    return loading_processes(given, cpus=os.cpu_count() or 1, on_gpu=torch.cuda.is_available())


def trials_that_fit(gpus: float, share: float) -> int:
    """Return how many trials of a GPU share fit, each on a part of one GPU or on whole GPUs; 0 without a share.

    >>> trials_that_fit(4, 0.75), trials_that_fit(4, 2.0), trials_that_fit(4, 0.25)
    (4, 2, 16)
    """
    if share == 0:
        return 0
    return int(gpus // share) if share >= 1 else int(gpus) * int(1 / share + 1e-9)
