"""Which items a split's questions ask about: all that has to be embedded to answer them."""

import numpy as np

from pan_model.data.splits import Split
from pan_model.shapes import Float, Int
from pan_model.tasks import Task


def asked_items(task: Task, split: Split) -> Int[np.ndarray, "n"]:
    """The items, ascending, that a scorer is given when the objective's questions of a split are asked."""
    noted = np.zeros(len(task.featured.classes), dtype=bool)

    def note(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        noted[queries] = True
        noted[sets] = True
        return np.zeros((*queries.shape, sets.shape[1]), dtype=np.float32)

    task.evaluate(note, split)
    return np.flatnonzero(noted)
