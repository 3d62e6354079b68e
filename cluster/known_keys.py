"""Known keys: those that cluster/known_keys.toml lists, and what is said of one that is none of them."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cluster.finding import Finding, nearest, step

TABLE = Path(__file__).with_name("known_keys.toml")


@cache
def known_keys(of: str) -> tuple[str, ...]:
    """The keys of one kind of thing: gcp_instance, RayCluster, RayJob or worker_group."""
    return tuple(tomllib.loads(TABLE.read_text(encoding="utf-8"))[of])


def check_keys(where: str, given: Mapping[str, Any], of: str, *, newer: bool = False) -> list[Finding]:
    """Keys that are not known; with newer, those alone that are nearly a known one, as others may have come since."""
    known = known_keys(of)
    return [
        Finding(where=step(where, key), what=f"there is no such key{nearest(key, known) or '; take it out.'}")
        for key in given
        if key not in known and (nearest(key, known) or not newer)
    ]
