"""Instance types: what cluster/instance_types.toml says of a machine, compared with what a node type declares."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cluster.finding import Finding, nearest, step
from cluster.versions import Locked

TABLE = Path(__file__).with_name("instance_types.toml")

LEAST_CAPABILITY = {13: 7.5}
"""The least compute capability that a major version of CUDA works with (CUDA 13's release notes)."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine as its maker sells it; gpu_gb and capability are of one GPU."""

    cpus: int
    gpus: int = 0
    gpu_gb: int = 0
    capability: float = 0.0


@cache
def machines(kind: str) -> dict[str, Machine]:
    """The table of one maker: aws, gcp, or gcp_accelerators."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))[kind]
    return {name: Machine(**row) for name, row in rows.items()}


def find_machine(where: str, name: str, kind: str, sold: Iterable[str] = ()) -> tuple[Machine | None, list[Finding]]:
    """A machine by its name; a finding where the table has none, with the way to declare one that is sold."""
    known = machines(kind)
    if name in known:
        return known[name], []
    names = set(sold)
    if name in names or (not names and not nearest(name, known)):
        what = f"'{name}' is not in cluster/instance_types.toml; add a line there with its CPUs and GPUs."
        return None, [Finding(where=where, what=what)]
    hint = nearest(name, known) or nearest(name, names)
    return None, [Finding(where=where, what=f"unknown machine '{name}'{hint or '; see cluster/instance_types.toml.'}")]


def check_resources(where: str, resources: dict[str, Any], name: str, machine: Machine, *, head: bool) -> list[Finding]:
    """What a node type declares is what its machine has; a head may declare no CPU, so that no trial runs there."""
    findings: list[Finding] = []
    for resource, has in (("CPU", machine.cpus), ("GPU", machine.gpus)):
        declared = resources.get(resource, has if resource == "CPU" else 0)
        if not isinstance(declared, int) or declared == has or (head and declared == 0):
            continue  # where it is no number, or no CPU is named, another line says so
        rule = f"{resource} must be {has}, what {name} has, got {declared}"
        what = f"{rule}; a study plans with it for workers that sleep."
        findings.append(Finding(where=step(where, "resources"), what=what))
    return findings


def check_capability(where: str, name: str, machine: Machine, locked: Locked) -> list[Finding]:
    """The GPU is new enough for the CUDA that the lock's torch brings along."""
    least = LEAST_CAPABILITY.get(locked.cuda, 0.0)
    if not machine.gpus or machine.capability >= least:
        return []
    what = f"the lock's torch, of CUDA {locked.cuda}, needs a GPU of compute capability {least:g} or more"
    return [Finding(where=where, what=f"{what}, got '{name}' with {machine.capability:g}; take a newer machine.")]
