"""NodeInfo nodes: a question put to every node of a cluster at the same time, and what is wrong with some."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.nodes import node_probe
from study.nodes.finding import Finding
from study.nodes.node_probe import ProbeRequest, ProbeResult

ANSWER_WITHIN_S = 120.0
"""How long a node may take: a cold disk needs a minute to load torch."""

SAME_CODE = "bring every node to one state: `ray up` the cluster again, or `make setup` in the same checkout on each"


class NodeInfo(NamedTuple):
    """A node of the cluster: Ray's name of it, how people know it, and whether Ray counts GPUs on it."""

    node_id: str
    name: str
    has_gpu: bool


def alive_nodes() -> list[NodeInfo]:
    """The nodes of the Ray that was joined."""
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
    nodes: Sequence[NodeInfo], question: ProbeRequest, within_s: float = ANSWER_WITHIN_S
) -> dict[str, ProbeResult | Finding]:
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


def _take(node: NodeInfo, reference: Any, within_s: float, *, answered: bool) -> ProbeResult | Finding:
    if not answered:
        ray.cancel(reference, force=True)
        way_out = "look at its disks, its network and its Ray, or take it out of the cluster"
        return Finding(node.name, f"did not answer within {within_s:g} s", way_out)
    try:
        return ray.get(reference)
    except Exception as error:  # whatever keeps a node from running a small task
        last = (str(error).strip().splitlines() or [""])[-1]
        return Finding(node.name, f"could not run a small task ({type(error).__name__}: {last})", SAME_CODE)
