"""Probe nodes: run the same probe on every node of a cluster concurrently, and describe the problems."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.nodes import node_probe
from study.nodes.node_probe import ProbeRequest, ProbeResult

PROBE_TIMEOUT_S = 120.0
"""Time that a node has for a probe: loading torch from a cold disk takes a minute."""

SAME_CODE = "bring every node to one state: `ray up` the cluster again, or `make setup` in the same checkout on each"


class NodeInfo(NamedTuple):
    """A node of the cluster: its Ray ID, its name in messages, and whether Ray counts GPUs on it."""

    node_id: str
    name: str
    has_gpu: bool


@dataclass(frozen=True)
class NodeProblem:
    """A problem of a node.

    Attributes:
        node: The name of the node in messages.
        what: The problem, a clause whose subject is the node.
        way_out: The way out, an imperative.
    """

    node: str
    what: str
    way_out: str


def alive_nodes() -> list[NodeInfo]:
    """Return the nodes of the joined cluster that are alive."""
    return [
        NodeInfo(
            node["NodeID"],
            f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']})",
            bool(node["Resources"].get("GPU")),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def probe_nodes(
    nodes: Sequence[NodeInfo], request: ProbeRequest, timeout_s: float = PROBE_TIMEOUT_S
) -> dict[str, ProbeResult | NodeProblem]:
    """Probe nodes concurrently.

    Args:
        nodes: The nodes to probe.
        request: The request. GPUs are probed only on nodes that have one.
        timeout_s: Seconds that a node may take.

    Returns:
        By node ID, the result, or the problem that prevented one. Nodes that have left the cluster are left out.
        Nodes on one machine share their name, but not their ID.
    """
    # The probe is sent as source: a node may lack the module, or have another version of it.
    source = Path(node_probe.__file__).read_text(encoding="utf-8")
    run_probe = ray.remote(num_cpus=0, max_retries=0)(
        lambda source, request: exec(str(source), space := {"__name__": "node_probe"}) or space["probe"](request)
    )
    pending = {
        node: run_probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)).remote(
            source, {**request, "gpu": request["gpu"] and node.has_gpu}
        )
        for node in nodes
    }
    ready, _ = ray.wait(list(pending.values()), num_returns=len(pending), timeout=timeout_s)
    results = {node: _result(node, ref, timeout_s, ready=ref in ready) for node, ref in pending.items()}
    alive = {node.node_id for node in alive_nodes()}
    return {
        node.node_id: result
        for node, result in results.items()
        if not isinstance(result, NodeProblem) or node.node_id in alive
    }


def describe_problems(problems: Sequence[NodeProblem]) -> str:
    """Return one line with all problems; a problem that several nodes have in common appears once.

    >>> describe_problems([NodeProblem("a", "has no disk", "buy one"), NodeProblem("b", "has no disk", "buy one")])
    'nodes a and b: each has no disk; buy one.'
    """
    nodes: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        nodes.setdefault((problem.what, problem.way_out), []).append(problem.node)
    lines = [f"{_join_names(names)} {what}; {way_out}." for (what, way_out), names in nodes.items()]
    first, *others = lines
    return f"{first} And {len(others)} more: {' '.join(others)}" if others else first


def _join_names(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"node {names[0]}"
    shown = list(names) if len(names) <= 3 else [*names[:2], f"{len(names) - 2} others"]
    return f"nodes {', '.join(shown[:-1])} and {shown[-1]}: each"


def _result(node: NodeInfo, reference: Any, timeout_s: float, *, ready: bool) -> ProbeResult | NodeProblem:
    if not ready:
        ray.cancel(reference, force=True)
        way_out = "look at its disks, its network and its Ray, or take it out of the cluster"
        return NodeProblem(node.name, f"did not answer within {timeout_s:g} s", way_out)
    try:
        return ray.get(reference)
    except Exception as error:  # a node may fail to run a small task for any reason
        last_line = (str(error).strip().splitlines() or [""])[-1]
        return NodeProblem(node.name, f"could not run a small task ({type(error).__name__}: {last_line})", SAME_CODE)
