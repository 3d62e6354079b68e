"""Findings on nodes: what is wrong with which, and the way out, all told in one line."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What is wrong with a node, and the way out."""

    node: str
    what: str
    way_out: str


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
