"""Node types of a cloud cluster: the head, the numbers of workers, and the machines they name."""

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cluster.check.problem import Problem, integer, mapping, nearest, step
from cluster.check.versions import Locked

LONGEST_IDLE_MINUTES = 60
"""Idle workers cost as much as busy ones."""

TYPES = "available_node_types"


def node_types(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the node types by name."""
    return {name: mapping(kind) for name, kind in mapping(config.get(TYPES)).items()}


def head_name(config: dict[str, Any]) -> str | None:
    """Return the name of the head node type, or the most similar name if the file names a missing one."""
    kinds = node_types(config)
    named = str(config.get("head_node_type"))
    return named if named in kinds else next(iter(difflib.get_close_matches(named, kinds, n=1)), None)


def check_node_types(config: dict[str, Any]) -> list[Problem]:
    """Check the head, the numbers of workers and the idle timeout."""
    kinds = node_types(config)
    return [
        *_check_head(config, kinds),
        *_check_idle(config),
        *_check_old_key(config),
        *_check_most(config, kinds),
        *(problem for name, kind in kinds.items() for problem in _check_kind(config, name, kind)),
    ]


def _check_head(config: dict[str, Any], kinds: dict[str, dict[str, Any]]) -> list[Problem]:
    head = str(config.get("head_node_type"))
    if not kinds:
        return [Problem(where=TYPES, what="missing; declare a head and a worker, as in cluster/config.yaml.")]
    if head not in kinds:
        what = f"must be one of {', '.join(kinds)}, got '{head}'{nearest(head, kinds)}"
        return [Problem(where="head_node_type", what=what)]
    if integer(kinds[head].get("max_workers")):
        what = f"must be 0 for the head, got {kinds[head]['max_workers']}; otherwise Ray may start more heads."
        return [Problem(where=step(step(TYPES, head), "max_workers"), what=what)]
    return []


def _check_idle(config: dict[str, Any]) -> list[Problem]:
    where, idle = "idle_timeout_minutes", config.get("idle_timeout_minutes")
    if idle is None:
        return [Problem(where=where, what="missing; set the minutes after which an idle worker is terminated.")]
    if isinstance(idle, (int, float)) and not 1 <= idle <= LONGEST_IDLE_MINUTES:
        rule = f"must be between 1 and {LONGEST_IDLE_MINUTES}, got {idle}"
        return [
            Problem(where=where, what=f"{rule}; less ends workers between two trials, more pays for idle machines.")
        ]
    return []


def _check_most(config: dict[str, Any], kinds: dict[str, dict[str, Any]]) -> list[Problem]:
    most = config.get("max_workers")
    workers = [kind for name, kind in kinds.items() if name != head_name(config)]
    if most is None:
        return [Problem(where="max_workers", what="missing; Ray's default is 2. Set it, because it limits the cost.")]
    if most == 0 or not workers:
        return [Problem(where="max_workers", what="no worker can start, so no trial can run; allow at least one.")]
    if not isinstance(most, int):
        return []
    needed = sum(integer(kind.get("min_workers")) for kind in workers)
    if needed > most:
        what = f"must be at least {needed}, the sum of all min_workers, got {most}; raise it or lower them."
        return [Problem(where="max_workers", what=what)]
    could = sum(integer(kind.get("max_workers"), most) for kind in workers)
    if could < most:
        what = f"must be at most {could}, the sum of the node types' max_workers, got {most}; raise theirs or lower it."
        return [Problem(where="max_workers", what=what)]
    return []


def _check_old_key(config: dict[str, Any]) -> list[Problem]:
    if "min_workers" not in config:
        return []
    what = f"Ray ignores it here, got {config['min_workers']}; set it in a node type."
    return [Problem(where="min_workers", what=what)]


def _check_kind(config: dict[str, Any], name: str, kind: dict[str, Any]) -> list[Problem]:
    where = step(TYPES, name)
    head = name == head_name(config)
    least, most = integer(kind.get("min_workers")), integer(kind.get("max_workers"), integer(config.get("max_workers")))
    problems: list[Problem] = []
    if least < 0 or (least > most and not head):
        what = f"must be between 0 and max_workers, {most}, got {least}; further nodes never start."
        problems.append(Problem(where=step(where, "min_workers"), what=what))
    if not head and "min_workers" not in kind:
        what = "missing; set it, to 0 if the cluster shall cost nothing between studies."
        problems.append(Problem(where=step(where, "min_workers"), what=what))
    resources = mapping(kind.get("resources"))
    if "CPU" not in resources:
        what = (
            f"must contain the machine's CPUs, such as {{CPU: 8}}, got {resources or 'nothing'}; a study "
            "plans with them."
        )
        problems.append(Problem(where=step(where, "resources"), what=what))
    elif not head and integer(resources["CPU"]) < 1:
        what = f"CPU must be at least 1, got {resources['CPU']}; every trial needs one."
        problems.append(Problem(where=step(where, "resources"), what=what))
    return problems


TABLE = Path(__file__).parents[1] / "instance_types.toml"

LEAST_CAPABILITY = {13: 7.5}
"""The lowest compute capability that a major version of CUDA supports (CUDA 13's release notes)."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine type. `gpu_gb` and `capability`, the CUDA compute capability, are those of one GPU."""

    cpus: int
    gpus: int = 0
    gpu_gb: int = 0
    capability: float = 0.0


@cache
def known_machines(kind: str) -> dict[str, Machine]:
    """Return a table of cluster/instance_types.toml: aws, gcp, or gcp_accelerators."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))[kind]
    return {name: Machine(**row) for name, row in rows.items()}


NAMES = {
    "aws": re.compile(r"[a-z]+\d+[a-z0-9-]*\.(nano|micro|small|medium|large|\d*xlarge|metal(-\d+xl)?)"),
    "gcp": re.compile(
        r"[a-z]\d[a-z]?-(micro|small|medium|(standard|high(mem|cpu|gpu)|(ultra|mega|hyper)mem|(mega|ultra|edge|max)gpu)"
        r"-\d+g?(-[a-z]+)*)|([a-z]\d[a-z]?-)?custom-(micro|small|medium|\d+)-\d+(-ext)?"
    ),
}
"""How each cloud forms the names of its machines. New machines have names of this form as well."""

OTHER_ACCELERATOR = re.compile(r"nvidia-(l4|rtx|(tesla-)?[a-z]+\d\d).*")
"""Google's GPUs that cannot be added to a machine, such as nvidia-l4 and nvidia-tesla-a100."""


def find_machine(where: str, name: str, kind: str, sold: Iterable[str] = ()) -> tuple[Machine | None, list[Problem]]:
    """Look up a machine by its name.

    Another machine is suggested only for a name that no machine can have: neither the table nor `sold` lists all
    machines, and another one may cost many times as much.

    Args:
        where: Path of the name in the file.
        name: The machine type.
        kind: Table of cluster/instance_types.toml, aws or gcp.
        sold: Further names that exist although the table does not list them.

    Returns:
        The machine, or None and a problem.
    """
    known = known_machines(kind)
    if name in known:
        return known[name], []
    names = set(sold)
    hint = nearest(name, known) or nearest(name, names)
    if name in names or NAMES[kind].fullmatch(name) or not hint:
        what = f"'{name}' is not in cluster/instance_types.toml; add a line there with its CPUs and GPUs."
        return None, [Problem(where=where, what=what)]
    return None, [Problem(where=where, what=f"unknown machine '{name}'{hint}")]


def find_accelerator(where: str, name: str) -> tuple[Machine | None, list[Problem]]:
    """Look up a GPU that can be added to an n1 machine: the GPU, or None and a problem. The table lists all of them."""
    known = known_machines("gcp_accelerators")
    if name in known:
        return known[name], []
    hint = nearest(name, known)
    if hint and not OTHER_ACCELERATOR.fullmatch(name):
        return None, [Problem(where=where, what=f"unknown machine '{name}'{hint}")]
    what = f"n1 machines accept {', '.join(known)}, got '{name}'; others are part of a machine, as in g2-standard-8."
    return None, [Problem(where=where, what=what)]


def check_resources(where: str, resources: dict[str, Any], name: str, machine: Machine, *, head: bool) -> list[Problem]:
    """Check that a node type declares what its machine has. A head may declare 0 CPUs, so that no trial runs there."""
    problems: list[Problem] = []
    for resource, has in (("CPU", machine.cpus), ("GPU", machine.gpus)):
        declared = resources.get(resource, has if resource == "CPU" else 0)
        if not isinstance(declared, int) or declared == has or (head and declared == 0):
            continue  # wrong types and missing CPUs are reported by other checks
        rule = f"{resource} must be {has}, as {name} has, got {declared}"
        what = f"{rule}; a study plans with it before workers start."
        problems.append(Problem(where=step(where, "resources"), what=what))
    return problems


def check_capability(where: str, name: str, machine: Machine, locked: Locked) -> list[Problem]:
    """Check that the locked torch's CUDA supports the GPU."""
    least = LEAST_CAPABILITY.get(locked.cuda, 0.0)
    if not machine.gpus or machine.capability >= least:
        return []
    what = f"torch in requirements.lock uses CUDA {locked.cuda}, which needs compute capability {least:g} or higher"
    return [Problem(where=where, what=f"{what}, got '{name}' with {machine.capability:g}; choose a newer machine.")]
