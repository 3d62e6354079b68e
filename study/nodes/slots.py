"""Slots: how a cluster's CPUs and GPUs are cut into trials."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pan_model.errors import UserError
from study.config.study_config import StudyConfig
from study.nodes.node import Node


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What each trial gets of the cluster, and how many run at a time."""

    cpus: int
    gpus: float
    count: int


def allocate_slots(study: StudyConfig, nodes: Sequence[Node], need: float = 0.0) -> Slots:
    """Cut a cluster into trials: as many as its CPUs take, with all GPUs shared among them unless a share is given.

    need is the least part of a GPU that a trial can do with; a share that is given may be smaller. Raises UserError
    when no node can run even one trial.
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
    room = sum(_cpu_room(study, node) for node in nodes)
    wanted = min(room, study.max_concurrent or room)
    share = study.gpus_per_trial
    if share is None:
        useful = [node.gpus for node in nodes if _cpu_room(study, node)]  # a GPU without CPUs serves nobody
        share = min(max(even_gpu_share(sum(useful), wanted), math.ceil(1000 * need) / 1000), max(useful))
    if share == 0:
        return Slots(cpus=study.cpus_per_trial, gpus=0.0, count=wanted)
    slots = Slots(cpus=study.cpus_per_trial, gpus=share, count=wanted)
    if (count := count_slots(study, slots, nodes)) == 0:
        raise UserError(
            f"no node has room for a trial of {study.cpus_per_trial} CPUs and {share:g} GPUs; "
            "give fewer with --cpus-per-trial or --gpus-per-trial."
        )
    return replace(slots, count=count)


def count_slots(study: StudyConfig, slots: Slots, nodes: Sequence[Node]) -> int:
    """How many trials of that share run at a time on nodes, those that are there now for one."""
    on_each = [
        min(_cpu_room(study, node), trials_that_fit(node.gpus, slots.gpus)) if slots.gpus else _cpu_room(study, node)
        for node in nodes
    ]
    return min(sum(on_each), study.max_concurrent or sum(on_each))


def _cpu_room(study: StudyConfig, node: Node) -> int:
    return int(node.cpus // study.cpus_per_trial)


def even_gpu_share(gpus: float, count: int) -> float:
    """GPUs for each of `count` trials: whole ones, or the part of one that lets all of them fit.

    >>> even_gpu_share(8, 4), even_gpu_share(2, 3), even_gpu_share(0, 2)
    (2.0, 0.5, 0.0)
    """
    if gpus >= count:
        return float(gpus // count)
    return math.floor(1000 / math.ceil(count / gpus)) / 1000 if gpus else 0.0


def loading_processes(given: int | None, *, cpus: int, on_gpu: bool) -> int:
    """How many processes load pictures for one that trains: what was given, or one less than it has CPUs, up to 8.

    Where a CPU trains, they would only be in its way.

    >>> loading_processes(3, cpus=1, on_gpu=False), loading_processes(None, cpus=4, on_gpu=True)
    (3, 3)
    """
    if given is not None:
        return given
    return min(cpus - 1, 8) if on_gpu else 0


def loading_processes_here(given: int | None) -> int:
    """The same for what this process trains itself, on all CPUs and the GPU where there is one."""
    return loading_processes(given, cpus=os.cpu_count() or 1, on_gpu=torch.cuda.is_available())


def trials_that_fit(gpus: float, share: float) -> int:
    """How many trials find room, each on a part of one GPU or on whole ones; 0 when they need none.

    >>> trials_that_fit(4, 0.75), trials_that_fit(4, 2.0), trials_that_fit(4, 0.25)
    (4, 2, 16)
    """
    if share == 0:
        return 0
    return int(gpus // share) if share >= 1 else int(gpus) * int(1 / share + 1e-9)
