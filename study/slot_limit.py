"""As many trials at a time as the cluster takes now: nodes that join are used, those that are lost not waited for."""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.tune.search import ConcurrencyLimiter, Searcher

from study.autoscaling import find_nodes
from study.config import StudyConfig
from study.slots import Slots, count_slots

ASKED_EVERY_S = 5.0


def current_slots(study: StudyConfig, slots: Slots, clock: Callable[[], float] = time.monotonic) -> Callable[[], int]:
    """How many trials of a share the cluster takes when it is called; Ray is asked every few seconds.

    At least one, so that a trial waits for a node where none is left. A Ray of this machine stays as it is.
    """
    if study.ray_address is None:
        return lambda: slots.count
    known, known_s = slots.count, clock()

    def count() -> int:
        nonlocal known, known_s
        if clock() - known_s >= ASKED_EVERY_S:
            nodes = find_nodes([node["Resources"] for node in ray.nodes() if node["Alive"]], study.ray_address)
            known, known_s = max(1, count_slots(study, slots, nodes)), clock()
        return known

    return count


class SlotLimiter(ConcurrencyLimiter):
    """Asks the searcher for no more trials at a time than there are slots when it asks."""

    def __init__(self, searcher: Searcher, count: Callable[[], int]) -> None:
        self._count = count
        super().__init__(searcher, max_concurrent=count())

    def suggest(self, trial_id: str) -> Any:
        """Suggest a trial, or None as long as all slots are taken."""
        self.max_concurrent = self._count()
        return super().suggest(trial_id)

    def get_state(self) -> dict[str, Any]:
        """Nothing: the ledger is all that a study needs to go on."""
        return {}
