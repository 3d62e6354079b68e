"""Checks of an on-premise cluster: addresses of the machines, and the number of workers."""

import re
from collections import Counter
from typing import Any

from cluster.check.documents import is_placeholder
from cluster.check.problem import Problem, integer, mapping, sequence, step

HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?")


def check_onprem(config: dict[str, Any]) -> list[Problem]:
    """Check that every address is a host and is listed once, and that the numbers of workers match."""
    provider = mapping(config.get("provider"))
    if "coordinator_address" in provider:
        return []
    head, workers = provider.get("head_ip"), sequence(provider.get("worker_ips"))
    problems: list[Problem] = []
    if head is None:
        problems.append(Problem(where="provider.head_ip", what="missing; add the head's address."))
    if not isinstance(provider.get("worker_ips"), list):
        problems.append(Problem(where="provider.worker_ips", what="must be a list of addresses, [] if there are none."))
    for where, address in [("provider.head_ip", head), *_places(workers)]:
        if address is not None and not is_placeholder(address) and not HOST.fullmatch(str(address)):
            what = f"must be a host name or address, without user or port, got '{address}'."
            problems.append(Problem(where=where, what=what))
    for address, times in Counter(map(str, [head, *workers])).items():
        if times > 1 and not is_placeholder(address):
            what = f"'{address}' is listed {times} times, head included; list every machine once."
            problems.append(Problem(where="provider.worker_ips", what=what))
    return problems + _check_most(config, len(workers))


def _places(workers: list[Any]) -> list[tuple[str, Any]]:
    return [(step("provider.worker_ips", index), address) for index, address in enumerate(workers)]


def _check_most(config: dict[str, Any], num_workers: int) -> list[Problem]:
    least, most = integer(config.get("min_workers"), num_workers), integer(config.get("max_workers"), num_workers)
    if most > num_workers:
        what = f"must be at most {num_workers}, the number of worker_ips, got {most}."
        return [Problem(where="max_workers", what=what)]
    if least > most:
        return [Problem(where="min_workers", what=f"must be at most max_workers, {most}, got {least}.")]
    return []
