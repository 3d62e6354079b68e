"""Nodes: the machines of a cluster as a study counts them, and those that its environment tells of."""

import re
from dataclasses import dataclass

from pan_model.errors import UserError

WORKERS = "PAN_STUDY_WORKERS"
"""Of the environment: the workers that an autoscaler may start, "4 x CPU=7,GPU=1", several kinds joined by " + "."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of the cluster, as Ray counts it."""

    cpus: float
    gpus: float


def read_workers(text: str) -> tuple[Node, ...]:
    """The workers that the environment tells of; UserError when the text is malformed.

    >>> read_workers("2 x CPU=7,GPU=1 + 1 x CPU=15")
    (Node(cpus=7.0, gpus=1.0), Node(cpus=7.0, gpus=1.0), Node(cpus=15.0, gpus=0.0))
    """
    nodes: list[Node] = []
    for part in text.split(" + "):
        found = re.fullmatch(r"(\d+) x CPU=(\d+)(?:,GPU=(\d+))?", part)
        if found is None:
            raise UserError(
                f"{WORKERS} must be a number of workers and what each has, as in '4 x CPU=7,GPU=1', several kinds "
                f"joined by ' + ', got '{text}'."
            )
        nodes += [Node(cpus=float(found[2]), gpus=float(found[3] or 0))] * int(found[1])
    return tuple(nodes)
