"""Preflight: what would fail on a cluster later is found before work begins, by asking every node that is there."""

import os
import secrets
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.backbones import build_backbone
from pan_model.errors import BadInput
from pan_model.writable import existing_parent
from study import node_probe
from study.config import DatasetPlan, StudyConfig
from study.files import remove, write_text
from study.location import Location
from study.node_probe import ABSENT, Answer, Question
from study.regime import Regime
from study.screen import Screen
from study.slots import Node

ANSWER_WITHIN_S = 120.0
"""How long a node may take: a cold disk needs a minute to load torch."""

LEDGER_BYTES = 10**6
"""What a trial leaves on disk, half of all trials more, with features that were extracted before it."""

BYTES_PER_PARAMETER = 12
"""What a checkpoint holds of each parameter that is trained: itself and two moments, in 32 bits."""

SAME_CODE = "bring every node to one state: `ray up` the cluster again, or `make setup` in the same checkout on each"
SHARE_OUTPUT = "give --output on a file system that all nodes share, or a bucket: --output s3://BUCKET/PREFIX"

SHARED = {"nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "glusterfs", "beegfs", "gpfs", "9p", "virtiofs", "afs"}
"""File systems that machines share; all that FUSE mounts may be shared, too."""


class Asked(NamedTuple):
    """A node of the cluster: Ray's name of it, how people know it, and whether Ray counts GPUs on it."""

    node_id: str
    name: str
    has_gpu: bool


@dataclass(frozen=True)
class Finding:
    """What is wrong with a node, and the way out."""

    node: str
    what: str
    way_out: str


def check_cluster(config: StudyConfig, nodes: Sequence[Node], screen: Screen) -> None:
    """Ask every node of the cluster that was joined; BadInput tells in one line all that would fail later.

    nodes are those that are alive or may be started. Nothing is left in the output.
    """
    asked = alive_nodes()
    wants_gpu = config.gpus_per_trial != 0
    check_gpus(config, nodes)
    for line in hints(config, nodes, more_to_come=len(nodes) > len(asked)):
        screen.say(line)
    with marker_beside(config.output) as marker:
        question = Question(marker=marker.path, content=marker.content, gpu=wants_gpu)
        here = node_probe.answer({**question, "marker": "", "gpu": False})
        answers = ask_nodes(asked, question)
    findings = [
        finding
        for node in asked
        if (said := answers.get(node.node_id)) is not None
        for finding in ([said] if isinstance(said, Finding) else compare(node, said, here, config.output))
    ]
    findings += short_disk(config)
    for node in asked:
        if node.node_id not in answers:
            screen.say(f"node {node.name} left the cluster while it was asked")
    if findings:
        raise BadInput(tell_all(findings))


def compare(node: Asked, there: Answer, here: Answer, output: Location) -> list[Finding]:
    """What a node's answer has against running trials there, beside the answer of this machine."""
    found: list[Finding] = []
    differing = [
        f"{name} {there['versions'].get(name, ABSENT)} instead of {mine}"
        for name, mine in here["versions"].items()
        if there["versions"].get(name, ABSENT) != mine
    ]
    lacking = [name for name in here["code"] if there["code"][name] == ABSENT]
    stale = [name for name, mine in here["code"].items() if there["code"][name] not in (mine, ABSENT)]
    if lacking:
        differing.append(f"no package {' or '.join(lacking)}")
    if stale:
        differing.append(f"other code of {' and '.join(stale)}")
    if differing:
        found.append(Finding(node.name, f"has {', '.join(differing)}", SAME_CODE))
    if there["marker"]:
        found.append(Finding(node.name, f"does not share the output {output} ({there['marker']})", SHARE_OUTPUT))
    if node.has_gpu and there["gpu"]:
        way_out = "install a CUDA build of torch and a driver that fits, or give --gpus-per-trial 0"
        found.append(Finding(node.name, f"has a GPU that cannot be used ({there['gpu']})", way_out))
    return found


def tell_all(findings: Sequence[Finding]) -> str:
    """One line of all findings, those that several nodes have in common told once.

    >>> tell_all([Finding("a", "has no disk", "buy one"), Finding("b", "has no disk", "buy one")])
    'nodes a and b: each has no disk; buy one.'
    """
    nodes: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        nodes.setdefault((finding.what, finding.way_out), []).append(finding.node)
    lines = [f"{_name_nodes(names)} {what}; {way_out}." for (what, way_out), names in nodes.items()]
    first, *others = lines
    return f"{first} And {len(others)} more: {' '.join(others)}" if others else first


def _name_nodes(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"node {names[0]}"
    shown = list(names) if len(names) <= 3 else [*names[:2], f"{len(names) - 2} others"]
    return f"nodes {', '.join(shown[:-1])} and {shown[-1]}: each"


def check_gpus(config: StudyConfig, nodes: Sequence[Node]) -> None:
    """BadInput when GPUs are asked for and no node has one, be it alive or yet to start."""
    if config.gpus_per_trial and not any(node.gpus for node in nodes):
        raise BadInput(
            f"--gpus-per-trial {config.gpus_per_trial:g}: no node of the cluster has a GPU, alive or yet to start; "
            "add nodes that have one, or give --gpus-per-trial 0."
        )


def hints(config: StudyConfig, nodes: Sequence[Node], *, more_to_come: bool) -> list[str]:
    """What is odd but need not fail: GPUs that stay idle, an output that nodes to come may not share."""
    lines: list[str] = []
    if config.gpus_per_trial == 0 and (gpus := sum(node.gpus for node in nodes)):
        lines.append(f"hint: the cluster has {gpus:g} GPUs, which --gpus-per-trial 0 leaves idle")
    place = existing_parent(config.output) if more_to_come and isinstance(config.output, Path) else None
    kind = "" if place is None else file_system(place)
    if kind and kind not in SHARED and not kind.startswith("fuse"):
        lines.append(
            f"hint: nodes that are yet to start must share the output {config.output}, which lies on this machine's "
            f"{kind}; where they do not, {SHARE_OUTPUT}"
        )
    return lines


def store_hints(features_bytes: int) -> list[str]:
    """That nodes cannot hold the features of all datasets in memory, where trials share them, and read from disk."""
    small = [
        f"{node['NodeManagerAddress']} ({store / 1e9:.1f} GB)"
        for node in ray.nodes()
        if node["Alive"] and (store := node["Resources"].get("object_store_memory", 0.0)) < features_bytes
    ]
    if not small:
        return []
    return [
        f"hint: the features, {features_bytes / 1e9:.1f} GB, do not fit in Ray's object store on {', '.join(small)} "
        "and are read from disk there; start its Ray with more --object-store-memory"
    ]


def alive_nodes() -> list[Asked]:
    """The nodes of the Ray that was joined."""
    return [
        Asked(
            node["NodeID"],
            f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']})",
            bool(node["Resources"].get("GPU")),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def ask_nodes(
    nodes: Sequence[Asked], question: Question, within_s: float = ANSWER_WITHIN_S
) -> dict[str, Answer | Finding]:
    """Put a question to nodes at the same time; by node_id, an answer or why there is none.

    A node that has left the cluster meanwhile is left out. Nodes on one machine share their name, not their node_id.
    """
    # The source travels: a node may have another module of that name, or none.
    source = Path(node_probe.__file__).read_text(encoding="utf-8")
    ask = ray.remote(num_cpus=0, max_retries=0)(
        lambda source, question: exec(str(source), space := {"__name__": "node_probe"}) or space["answer"](question)
    )
    asked = {
        node: ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)).remote(
            source, {**question, "gpu": question["gpu"] and node.has_gpu}
        )
        for node in nodes
    }
    ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=within_s)
    said = {node: _take(node, reference, within_s, answered=reference in ready) for node, reference in asked.items()}
    there = {node.node_id for node in alive_nodes()}
    return {node.node_id: one for node, one in said.items() if not isinstance(one, Finding) or node.node_id in there}


def _take(node: Asked, reference: Any, within_s: float, *, answered: bool) -> Answer | Finding:
    if not answered:
        ray.cancel(reference, force=True)
        way_out = "look at its disks, its network and its Ray, or take it out of the cluster"
        return Finding(node.name, f"did not answer within {within_s:g} s", way_out)
    try:
        return ray.get(reference)
    except Exception as error:  # whatever keeps a node from running a small task
        last = (str(error).strip().splitlines() or [""])[-1]
        return Finding(node.name, f"could not run a small task ({type(error).__name__}: {last})", SAME_CODE)


class Marker(NamedTuple):
    """A file that only those see who share its place."""

    path: str
    content: str


@contextmanager
def marker_beside(output: Location) -> Generator[Marker]:
    """Put a small file where an output goes, in the nearest folder there is, while nodes look for it.

    Raises StoreError where a store does not take it, or does not let go of it.
    """
    folder = existing_parent(output.absolute()) if isinstance(output, Path) else output
    path, content = folder / f".pan-study-{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        write_text(path, content)
        yield Marker(str(path), content)
    finally:
        remove(path)


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that a folder lies on, such as ext4 or nfs4; empty where the system does not tell."""
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    place = folder.resolve()
    around = [(len(row[1]), row[2]) for row in rows if place.is_relative_to(row[1].replace("\\040", " "))]
    return max(around, default=(0, ""), key=lambda one: one[0])[1]


def short_disk(config: StudyConfig) -> list[Finding]:
    """That the output's disk is too small for the least that all trials leave there."""
    if not isinstance(config.output, Path):
        return []
    free = shutil.disk_usage(existing_parent(config.output.absolute())).free
    needed = sum(plan.num_trials * _ledger_bytes(config, plan) for plan in config.plans)
    if free >= needed:
        return []
    what = f"has {free / 1e9:.1f} GB free for --output {config.output}, and {needed / 1e9:.1f} GB will go there"
    return [Finding(os.uname().nodename, what, "give another --output or fewer --num-trials")]


def _ledger_bytes(config: StudyConfig, plan: DatasetPlan) -> int:
    if config.regime is Regime.FROZEN:
        return LEDGER_BYTES
    with torch.device("meta"):
        backbone = build_backbone(plan.features.backbone, plan.features.pooling)
    return LEDGER_BYTES + BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in backbone.parameters())
