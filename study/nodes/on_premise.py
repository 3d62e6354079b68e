"""The machines of one's own that `ray up` gathers into a cluster: it ends when the head is there, workers follow."""

import time
from collections.abc import Callable
from pathlib import Path

import yaml

LIMIT_S = 600.0
"""How long a study waits for workers: on a fresh machine `make setup` fetches gigabytes first."""

POLL_S = 2.0


def count_machines(bootstrap: Path | None) -> int:
    """How many machines will be in a cluster by its YAML; 1 without one, or where they start when needed.

    Of one's own machines nobody knows how many CPUs and GPUs they have before they have joined.
    """
    cluster = {} if bootstrap is None else yaml.safe_load(bootstrap.read_text(encoding="utf-8"))
    if cluster.get("provider", {}).get("type") != "local":
        return 1
    return 1 + sum(int(kind.get("min_workers", 0)) for kind in cluster.get("available_node_types", {}).values())


def wait_for_machines(
    wanted: int,
    count_alive: Callable[[], int],
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Come back when all machines have joined, or after LIMIT_S, and say what is waited for."""
    end_s = clock() + LIMIT_S
    if (alive := count_alive()) >= wanted:
        return
    say(
        f"{alive} of {wanted} machines have joined the cluster: waiting for the others, at most {LIMIT_S / 60:g} "
        "minutes; `ray monitor cluster/FILE.yaml` says what they do."
    )
    while (alive := count_alive()) < wanted and clock() < end_s:
        sleep(POLL_S)
    if alive < wanted:
        say(f"going on with {alive} of {wanted} machines; take those that are off out of worker_ips.")
