"""Preflight: what would fail on a cluster later is found before work begins, by asking every node that is there."""

from collections.abc import Sequence
from pathlib import Path

import ray

from pan_model.errors import UserError
from pan_model.files import existing_parent
from study.config.study_config import StudyConfig
from study.nodes import node_probe
from study.nodes.disk_space import short_disk
from study.nodes.finding import Finding, tell_all
from study.nodes.node import Node
from study.nodes.node_probe import ABSENT, ProbeRequest, ProbeResult
from study.nodes.probe_nodes import SAME_CODE, NodeInfo, alive_nodes, probe_nodes
from study.nodes.shared_filesystem import SHARED, file_system, marker_beside
from study.storage.location import Location
from study.terminal import Terminal

SAME_TOKEN = "give RAY_AUTH_MODE=disabled to this command, or start Ray with RAY_AUTH_MODE=token on every node"
SHARE_OUTPUT = "give --output on a file system that all nodes share, or a bucket: --output s3://BUCKET/PREFIX"


def check_cluster(config: StudyConfig, nodes: Sequence[Node], screen: Terminal) -> None:
    """Ask every node of the cluster that was joined; UserError tells in one line all that would fail later.

    nodes are those that are alive or may be started. Nothing is left in the output.
    """
    asked = alive_nodes()
    wants_gpu = config.gpus_per_trial != 0
    check_gpus(config, nodes)
    for line in hints(config, nodes, more_to_come=len(nodes) > len(asked)):
        screen.say(line)
    with marker_beside(config.output) as marker:
        question = ProbeRequest(marker=marker.path, content=marker.content, gpu=wants_gpu)
        here = node_probe.answer({**question, "marker": "", "gpu": False})
        answers = probe_nodes(asked, question)
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
        raise UserError(tell_all(findings))


def compare(node: NodeInfo, there: ProbeResult, here: ProbeResult, output: Location) -> list[Finding]:
    """What a node's answer has against running trials there, beside the answer of this machine."""
    found: list[Finding] = []
    if differing := _differing(there, here):
        found.append(Finding(node.name, f"has {', '.join(differing)}", SAME_CODE))
    if here["token"] and not there["token"]:
        # Ray would get no answer from this command, take it for dead, and end each trial as it begins.
        found.append(Finding(node.name, "runs without the token that this command asks for", SAME_TOKEN))
    if there["marker"]:
        found.append(Finding(node.name, f"does not share the output {output} ({there['marker']})", SHARE_OUTPUT))
    if node.has_gpu and there["gpu"]:
        way_out = "install a CUDA build of torch and a driver that fits, or give --gpus-per-trial 0"
        found.append(Finding(node.name, f"has a GPU that cannot be used ({there['gpu']})", way_out))
    return found


def _differing(there: ProbeResult, here: ProbeResult) -> list[str]:
    """What a node has of versions and code that this machine has not."""
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
    return differing


def check_gpus(config: StudyConfig, nodes: Sequence[Node]) -> None:
    """UserError when GPUs are asked for and no node has one, be it alive or yet to start."""
    if config.gpus_per_trial and not any(node.gpus for node in nodes):
        raise UserError(
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
