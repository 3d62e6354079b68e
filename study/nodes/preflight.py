"""Preflight: probe every node of a cluster before work begins, and report all problems in one line."""

import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ray

from pan_model.backbones.config import TIMM
from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.files import existing_parent
from study.config.study_config import StudyConfig
from study.nodes.node_probe import ABSENT, ProbeRequest, ProbeResult, probe
from study.nodes.probe_nodes import SAME_CODE, NodeInfo, NodeProblem, alive_nodes, describe_problems, probe_nodes
from study.nodes.resources import Node
from study.storage.files import remove, write_text
from study.storage.location import Location, local_path
from study.terminal import Terminal

SHARE_TIMEOUT_S = 10.0
"""Time until a new file is visible to all nodes of a shared file system, at most."""

SAME_TOKEN = "give RAY_AUTH_MODE=disabled to this command, or start Ray with RAY_AUTH_MODE=token on every node"
SHARE_OUTPUT = "give --output on a file system that all nodes share, or a bucket: --output s3://BUCKET/PREFIX"

SHARED = {"nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "glusterfs", "beegfs", "gpfs", "9p", "virtiofs", "afs"}
"""Types of file systems that machines share. File systems of type fuse.* may be shared as well."""


def check_cluster(config: StudyConfig, nodes: Sequence[Node], terminal: Terminal) -> None:
    """Probe every node of the joined cluster. No file remains in the output.

    Args:
        config: The study.
        nodes: The nodes that are alive or may be started.
        terminal: Shows hints, which are no errors.

    Raises:
        UserError: If trials would fail on a node. The message is one line with all problems.
    """
    alive = alive_nodes()
    check_gpus(config, nodes)
    for line in hints(config, nodes, more_to_come=len(nodes) > len(alive)):
        terminal.say(line)
    with output_marker(config.output) as marker:
        request = ProbeRequest(
            marker=marker.path,
            content=marker.content,
            marker_timeout_s=SHARE_TIMEOUT_S,
            gpu=config.gpus_per_trial != 0,
            libraries=("timm",) if any(plan.features.backbone.startswith(TIMM) for plan in config.plans) else (),
        )
        expected = probe({**request, "marker": "", "gpu": False})
        results = probe_nodes(alive, request)
    problems: list[NodeProblem] = []
    for node in alive:
        result = results.get(node.node_id)
        if result is None:
            terminal.say(f"node {node.name} left the cluster while it was probed")
        elif isinstance(result, NodeProblem):
            problems.append(result)
        else:
            problems += find_problems(node, result, expected, config.output)
    if problems:
        raise UserError(describe_problems(problems))


def find_problems(node: NodeInfo, result: ProbeResult, expected: ProbeResult, output: Location) -> list[NodeProblem]:
    """Return the reasons why trials would fail on a node.

    Args:
        node: The node.
        result: The probe of the node.
        expected: The probe of this machine.
        output: The output of the study, for messages.
    """
    problems: list[NodeProblem] = []
    if differences := _differences(result, expected):
        problems.append(NodeProblem(node.name, f"has {', '.join(differences)}", SAME_CODE))
    if expected["token"] and not result["token"]:
        # Such a node cannot reach this command, counts it as dead, and ends each trial as it begins.
        problems.append(NodeProblem(node.name, "runs without the token that this command asks for", SAME_TOKEN))
    if result["marker"]:
        problems.append(
            NodeProblem(node.name, f"does not share the output {output} ({result['marker']})", SHARE_OUTPUT)
        )
    if node.has_gpu and result["gpu"]:
        way_out = "install a CUDA build of torch and a driver that fits, or give --gpus-per-trial 0"
        problems.append(NodeProblem(node.name, f"has a GPU that cannot be used ({result['gpu']})", way_out))
    return problems


def check_gpus(config: StudyConfig, nodes: Sequence[Node]) -> None:
    """Raise UserError if the study requires GPUs and no node has one, alive or yet to start."""
    if config.gpus_per_trial and not any(node.gpus for node in nodes):
        raise UserError(
            f"--gpus-per-trial {config.gpus_per_trial:g}: no node of the cluster has a GPU, alive or yet to start; "
            "add nodes that have one, or give --gpus-per-trial 0."
        )


def hints(config: StudyConfig, nodes: Sequence[Node], *, more_to_come: bool) -> list[str]:
    """Return hints about idle GPUs and about an output that future nodes may not share.

    Args:
        config: The study.
        nodes: The nodes that are alive or may be started.
        more_to_come: Whether nodes are yet to start.
    """
    lines: list[str] = []
    if config.gpus_per_trial == 0 and (gpus := sum(node.gpus for node in nodes)):
        lines.append(f"hint: the cluster has {counted(gpus, 'GPU')}, which --gpus-per-trial 0 leaves idle")
    path = local_path(config.output)
    folder = existing_parent(path) if more_to_come and path is not None else None
    kind = "" if folder is None else file_system(folder)
    if kind and kind not in SHARED and not kind.startswith("fuse"):
        lines.append(
            f"hint: nodes that are yet to start must share the output {config.output}, which lies on this machine's "
            f"{kind}; where they do not, {SHARE_OUTPUT}"
        )
    return lines


def store_hints(features_bytes: int) -> list[str]:
    """Return a hint about nodes whose object store cannot hold the features of all datasets.

    Trials of a node share the features in Ray's object store. Features that do not fit there are read from disk.

    Args:
        features_bytes: The size of the features of all datasets, in bytes.
    """
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


class Marker(NamedTuple):
    """A file in the output, which nodes that share the output can read: its path or URL, and its content."""

    path: str
    content: str


@contextmanager
def output_marker(output: Location) -> Generator[Marker]:
    """Write a marker into the output, or into its nearest parent that exists, and remove it at the end.

    Raises:
        StoreError: If an object store refuses to write or remove the marker.
    """
    path = local_path(output)
    folder = output if path is None else existing_parent(path.absolute())
    path, content = folder / f".pan-study-{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        write_text(path, content)
        yield Marker(str(path), content)
    finally:
        remove(path)


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the type of a folder's file system, such as ext4 or nfs4; empty if the mounts cannot be read."""
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    absolute = folder.resolve()
    parents = [(len(row[1]), row[2]) for row in rows if absolute.is_relative_to(row[1].replace("\\040", " "))]
    return max(parents, default=(0, ""), key=lambda mount: mount[0])[1]


def _differences(result: ProbeResult, expected: ProbeResult) -> list[str]:
    """Return the differences between the versions and code of a node and those of this machine."""
    differences = [
        f"{name} {result['versions'].get(name, ABSENT)} instead of {version}"
        for name, version in expected["versions"].items()
        if result["versions"].get(name, ABSENT) != version
    ]
    lacking = [name for name in expected["code"] if result["code"][name] == ABSENT]
    stale = [name for name, digest in expected["code"].items() if result["code"][name] not in (digest, ABSENT)]
    if lacking:
        differences.append(f"no package {' or '.join(lacking)}")
    if stale:
        differences.append(f"other code of {' and '.join(stale)}")
    return differences
