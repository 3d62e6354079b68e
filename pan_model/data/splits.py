"""Which classes a few-shot study trains, validates and tests on."""

from enum import StrEnum

import numpy as np

from pan_model.data.items import Items
from pan_model.shapes import Int


class Split(StrEnum):
    """The part of a dataset that a step may look at."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def few_shot_split(items: Items) -> dict[Split, Int[np.ndarray, "_"]]:
    """Split the items by class, so that no class is in two splits; gives ascending item indices (int64).

    With k the 0-based class index: train k % 2 == 0, val k % 4 == 1, test k % 4 == 3. These are the base, val and
    novel classes of PAN's reference code on CUB: 100, 50 and 50 of 200.
    """
    k = items.classes
    return {
        Split.TRAIN: np.flatnonzero(k % 2 == 0),
        Split.VAL: np.flatnonzero(k % 4 == 1),
        Split.TEST: np.flatnonzero(k % 4 == 3),
    }
