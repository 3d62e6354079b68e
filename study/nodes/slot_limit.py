"""As many trials at a time as the cluster takes now: nodes that join are used, those that are lost not waited for."""

import time
from collections.abc import Callable

from study.config.study_config import StudyConfig
from study.nodes.ray_session import usable_nodes
from study.nodes.slots import Slots, count_slots

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
            known, known_s = max(1, count_slots(study, slots, usable_nodes(study.ray_address))), clock()
        return known

    return count
