"""Node types: how many machines of which kind there may be, which of them is the head, and when they go away."""

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cluster.check.finding import Finding, mapping, nearest, step, whole
from cluster.check.versions import Locked

LONGEST_IDLE_MINUTES = 60
"""An idle worker is paid all the same."""

TYPES = "available_node_types"


def node_types(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The node types by name, those that are mappings."""
    return {name: mapping(kind) for name, kind in mapping(config.get(TYPES)).items()}


def head_name(config: dict[str, Any]) -> str | None:
    """The node type that is the head; where the file names one that is not there, the one that it nearly names."""
    kinds = node_types(config)
    named = str(config.get("head_node_type"))
    return named if named in kinds else next(iter(difflib.get_close_matches(named, kinds, n=1)), None)


def check_node_types(config: dict[str, Any]) -> list[Finding]:
    """The head is there, numbers of workers agree with each other, and idle workers go away."""
    kinds = node_types(config)
    return [
        *_check_head(config, kinds),
        *_check_idle(config),
        *_check_old_key(config),
        *_check_most(config, kinds),
        *(found for name, kind in kinds.items() for found in _check_kind(config, name, kind)),
    ]


def _check_head(config: dict[str, Any], kinds: dict[str, dict[str, Any]]) -> list[Finding]:
    head = str(config.get("head_node_type"))
    if not kinds:
        return [Finding(where=TYPES, what="there are none; declare a head and a worker, as cluster/config.yaml does.")]
    if head not in kinds:
        what = f"it must be one of {', '.join(kinds)}, got '{head}'{nearest(head, kinds)}"
        return [Finding(where="head_node_type", what=what)]
    if whole(kinds[head].get("max_workers")):
        what = f"it must be 0, a cluster has one head, got {kinds[head]['max_workers']}; Ray may start more of them."
        return [Finding(where=step(step(TYPES, head), "max_workers"), what=what)]
    return []


def _check_idle(config: dict[str, Any]) -> list[Finding]:
    where, idle = "idle_timeout_minutes", config.get("idle_timeout_minutes")
    if idle is None:
        return [Finding(where=where, what="it is missing; give the minutes after which an idle worker goes away.")]
    if isinstance(idle, (int, float)) and not 1 <= idle <= LONGEST_IDLE_MINUTES:
        rule = f"it must be from 1 to {LONGEST_IDLE_MINUTES}, got {idle}"
        return [
            Finding(where=where, what=f"{rule}; sooner, workers go between two trials; later, you pay for nothing.")
        ]
    return []


def _check_most(config: dict[str, Any], kinds: dict[str, dict[str, Any]]) -> list[Finding]:
    most = config.get("max_workers")
    workers = [kind for name, kind in kinds.items() if name != head_name(config)]
    if most is None:
        return [Finding(where="max_workers", what="it is missing, and Ray's own is 2; give it: it bounds the cost.")]
    if most == 0 or not workers:
        return [Finding(where="max_workers", what="no worker may ever start, so no trial runs; allow some.")]
    if not isinstance(most, int):
        return []
    needed = sum(whole(kind.get("min_workers")) for kind in workers)
    if needed > most:
        what = f"it must be at least {needed}, the sum of all min_workers, got {most}; raise it or lower them."
        return [Finding(where="max_workers", what=what)]
    could = sum(whole(kind.get("max_workers"), most) for kind in workers)
    if could < most:
        what = f"it must be at most {could}, what the node types allow together, got {most}; raise theirs or lower it."
        return [Finding(where="max_workers", what=what)]
    return []


def _check_old_key(config: dict[str, Any]) -> list[Finding]:
    if "min_workers" not in config:
        return []
    what = f"Ray does not look at it here, got {config['min_workers']}; give it in a node type."
    return [Finding(where="min_workers", what=what)]


def _check_kind(config: dict[str, Any], name: str, kind: dict[str, Any]) -> list[Finding]:
    where = step(TYPES, name)
    head = name == head_name(config)
    least, most = whole(kind.get("min_workers")), whole(kind.get("max_workers"), whole(config.get("max_workers")))
    findings: list[Finding] = []
    if least < 0 or (least > most and not head):
        what = f"it must be from 0 to max_workers, {most}, got {least}; nodes beyond that never start."
        findings.append(Finding(where=step(where, "min_workers"), what=what))
    if not head and "min_workers" not in kind:
        what = "it is missing; give it, 0 where nothing shall be paid between studies."
        findings.append(Finding(where=step(where, "min_workers"), what=what))
    resources = mapping(kind.get("resources"))
    if "CPU" not in resources:
        what = (
            f"it must name the machine's CPUs, got {resources or 'nothing'}; a study plans with them, write {{CPU: 8}}."
        )
        findings.append(Finding(where=step(where, "resources"), what=what))
    elif not head and whole(resources["CPU"]) < 1:
        what = f"CPU must be at least 1, got {resources['CPU']}; a trial needs one, so none would run there."
        findings.append(Finding(where=step(where, "resources"), what=what))
    return findings


TABLE = Path(__file__).parents[1] / "instance_types.toml"

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
def known_machines(kind: str) -> dict[str, Machine]:
    """The table of one maker: aws, gcp, or gcp_accelerators."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))[kind]
    return {name: Machine(**row) for name, row in rows.items()}


def find_machine(where: str, name: str, kind: str, sold: Iterable[str] = ()) -> tuple[Machine | None, list[Finding]]:
    """A machine by its name; a finding where the table has none, with the way to declare one that is sold."""
    known = known_machines(kind)
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
