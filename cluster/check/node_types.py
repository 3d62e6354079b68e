"""Node types of a cloud cluster: the head, the numbers of workers, and the machines they name."""

import copy
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


@dataclass(frozen=True, kw_only=True)
class NodeType:
    """A node type of a cloud cluster.

    Attributes:
        where: Path of the type in the file.
        values: The type's keys.
        head: Whether it is the head's.
    """

    where: str
    values: dict[str, Any]
    head: bool

    @property
    def node_config(self) -> dict[str, Any]:
        """The machine as the cloud starts it."""
        return mapping(self.values.get("node_config"))

    @property
    def resources(self) -> dict[str, Any]:
        """The CPUs and GPUs with which a study plans."""
        return mapping(self.values.get("resources"))

    @property
    def place(self) -> str:
        """The path of node_config in the file."""
        return step(self.where, "node_config")


def fill_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of an AWS or Google Cloud file with what Ray fills in for keys that are left out.

    Of Ray's defaults of the provider, these are the numbers of workers, the login and the head's type, if the file
    declares a type of that name. Node types are not filled in: Ray's have no GPU. On AWS, Ray looks up the resources of
    an instance type; those of cluster/instance_types.toml are the same.
    """
    from ray.autoscaler._private.providers import _get_default_config  # pyright: ignore[reportPrivateUsage]

    provider = mapping(config.get("provider"))
    defaults = _get_default_config(provider)
    filled = {key: defaults[key] for key in ("max_workers", "auth")} | copy.deepcopy(config)
    kinds = mapping(filled.get(TYPES))
    if defaults["head_node_type"] in kinds:
        filled.setdefault("head_node_type", defaults["head_node_type"])
    for kind in map(mapping, kinds.values()):
        kind.setdefault("min_workers", 0)
        machine = known_machines("aws").get(str(mapping(kind.get("node_config")).get("InstanceType")))
        if provider["type"] == "aws" and isinstance(kind.setdefault("resources", {}), dict) and machine:
            kind["resources"] = machine.resources | kind["resources"]
    return filled


def node_types(config: dict[str, Any]) -> list[NodeType]:
    """Return the node types. Those without a node_config, which Ray's schema requires, are left out."""
    kinds = mapping(config.get(TYPES)).items()
    head = head_name(config)
    return [
        NodeType(where=step(TYPES, name), values=mapping(kind), head=name == head)
        for name, kind in kinds
        if isinstance(mapping(kind).get("node_config"), dict)
    ]


def head_name(config: dict[str, Any]) -> str | None:
    """Return the name of the head node type, or the most probable one if the file names none or a missing one."""
    kinds = mapping(config.get(TYPES))
    named = config.get("head_node_type")
    if isinstance(named, str) and named in kinds:
        return named
    near = difflib.get_close_matches(str(named), kinds, n=1) if named is not None else []
    without_workers = [name for name, kind in kinds.items() if mapping(kind).get("max_workers") == 0]
    by_name = [name for name in kinds if "head" in name.lower()]
    return next(iter([*near, *by_name, *without_workers, *kinds]), None)


def check_node_types(config: dict[str, Any]) -> list[Problem]:
    """Check the head, the numbers of workers and the idle timeout."""
    kinds = node_types(config)
    return [
        *_check_head(config),
        *_check_idle(config),
        *_check_old_keys(config),
        *_check_most(config),
        *(problem for kind in kinds for problem in _check_kind(config, kind)),
    ]


def _check_head(config: dict[str, Any]) -> list[Problem]:
    kinds, named = mapping(config.get(TYPES)), config.get("head_node_type")
    if not kinds:
        return [Problem(where=TYPES, what="missing; declare a head and a worker, as in cluster/config.yaml.")]
    if named is None:
        what = f"missing, and Ray's default is none of {', '.join(kinds)}; add head_node_type: {head_name(config)}"
        return [Problem(where="head_node_type", what=what)]
    if not isinstance(named, str) or named not in kinds:
        what = f"must be one of {', '.join(kinds)}, got '{named}'{nearest(str(named), kinds) or '.'}"
        return [Problem(where="head_node_type", what=what)]
    if integer(most := mapping(kinds[named]).get("max_workers")):
        what = f"must be 0 for the head, got {most}; otherwise Ray may start more heads."
        return [Problem(where=step(step(TYPES, named), "max_workers"), what=what)]
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


def _check_most(config: dict[str, Any]) -> list[Problem]:
    most = config.get("max_workers")
    head, kinds = head_name(config), mapping(config.get(TYPES))
    if not kinds:
        return []
    workers = [mapping(kind) for name, kind in kinds.items() if name != head]
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


OLD_KEYS = ("head_node", "worker_nodes")
"""Keys of early versions of Ray, which describe one machine each. Ray still drops them if they are empty."""


def _check_old_keys(config: dict[str, Any]) -> list[Problem]:
    what = "Ray no longer accepts this key; describe the machine in available_node_types, as in cluster/config.yaml."
    problems = [Problem(where=key, what=what) for key in OLD_KEYS if config.get(key)]
    if "min_workers" in config:
        what = f"Ray ignores it here, got {config['min_workers']}; set it in a node type."
        problems.append(Problem(where="min_workers", what=what))
    return problems


def _check_kind(config: dict[str, Any], kind: NodeType) -> list[Problem]:
    least = integer(kind.values.get("min_workers"))
    most = integer(kind.values.get("max_workers"), integer(config.get("max_workers")))
    problems: list[Problem] = []
    if least < 0 or (least > most and not kind.head):
        what = f"must be between 0 and max_workers, {most}, got {least}; further nodes never start."
        problems.append(Problem(where=step(kind.where, "min_workers"), what=what))
    looked_up = mapping(config.get("provider")).get("type") == "aws"
    if "CPU" not in kind.resources and not looked_up:
        what = (
            "must contain the machine's CPUs, such as {CPU: 8}, "
            f"got {kind.resources or 'nothing'}; a study plans with them."
        )
        problems.append(Problem(where=step(kind.where, "resources"), what=what))
    elif not kind.head and integer(kind.resources.get("CPU"), 1) < 1:
        what = f"CPU must be at least 1, got {kind.resources['CPU']}; every trial needs one."
        problems.append(Problem(where=step(kind.where, "resources"), what=what))
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

    @property
    def resources(self) -> dict[str, Any]:
        """The machine's resources as a node type declares them."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}


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


def check_machine(
    kind: NodeType, where: str, name: str, machine: Machine, locked: Locked, with_gpus: str
) -> list[Problem]:
    """Check that a node type declares what its machine has, and that the locked torch supports its GPUs.

    Args:
        kind: The node type. A head may declare 0 CPUs, so that no trial runs there.
        where: Path of the machine's name in the file.
        name: The machine type.
        machine: The machine, with GPUs that were added to it.
        locked: Versions of this checkout.
        with_gpus: Which machines to choose for a GPU.
    """
    if integer(kind.resources.get("GPU")) and not machine.gpus:
        return [Problem(where=where, what=f"resources declare a GPU, but '{name}' has none; {with_gpus}")]
    problems: list[Problem] = []
    for resource, has in (("CPU", machine.cpus), ("GPU", machine.gpus)):
        declared = kind.resources.get(resource, has if resource == "CPU" else 0)
        if not isinstance(declared, int) or declared == has or (kind.head and declared == 0):
            continue  # wrong types and missing CPUs are reported by other checks
        rule = f"{resource} must be {has}, as {name} has, got {declared}"
        what = f"{rule}; a study plans with it before workers start."
        problems.append(Problem(where=step(kind.where, "resources"), what=what))
    return problems + _check_capability(where, name, machine, locked)


def _check_capability(where: str, name: str, machine: Machine, locked: Locked) -> list[Problem]:
    """Check that the locked torch's CUDA supports the GPU."""
    least = LEAST_CAPABILITY.get(locked.cuda, 0.0)
    if not machine.gpus or machine.capability >= least:
        return []
    what = f"torch in requirements.lock uses CUDA {locked.cuda}, which needs compute capability {least:g} or higher"
    return [Problem(where=where, what=f"{what}, got '{name}' with {machine.capability:g}; choose a newer machine.")]


def check_stopped(config: dict[str, Any], *, default: bool) -> list[Problem]:
    """Check that idle machines are terminated. `default` is what Ray does without the key."""
    stopped = mapping(config.get("provider")).get("cache_stopped_nodes", default)
    if stopped is False or not isinstance(stopped, bool):
        return []
    what = "must be false; otherwise Ray stops idle machines instead of terminating them, and their disks cost money."
    return [Problem(where="provider.cache_stopped_nodes", what=what)]


def check_same_image(images: list[tuple[str, str]]) -> list[Problem]:
    """Check that all machines have the same image; `images` are pairs of a path in the file and the image there."""
    if len({image for _, image in images}) <= 1:
        return []
    (_, first), *others = images
    where, other = next(pair for pair in others if pair[1] != first)
    what = f"must be the head's image, '{first}', so that all nodes have the same Python, got '{other}'."
    return [Problem(where=where, what=what)]


def check_account(kind: NodeType, where: str, account: str, noun: str) -> list[Problem]:
    """Check the account whose permissions a machine has: it must be given, and not be a worker's on the head.

    Args:
        kind: The node type.
        where: Path of the account in the file.
        account: The account's name, "" if there is none.
        noun: What the cloud calls such an account.
    """
    if not account:
        what = f"missing, so the machine cannot read the bucket; name the {noun} created in cluster/README.md."
        return [Problem(where=where, what=what)]
    if kind.head and re.search(r"\bpan-study-worker\b", account):
        what = f"the head's {noun} must be one that may start workers, such as pan-study-head, got '{account}'."
        return [Problem(where=where, what=what)]
    return []
