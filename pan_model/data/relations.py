"""What a dataset says of its items beside classes and attributes: which of them ask, or which go together."""

from abc import ABC, abstractmethod

import numpy as np

from pan_model.shapes import Bool


class Relations(ABC):
    """Relations among the N items of a dataset, which stay true when items are left out."""

    @abstractmethod
    def select(self, keep: Bool[np.ndarray, "N"]) -> "Relations":
        """The relations among the kept items, renumbered in the same order."""

    @abstractmethod
    def content(self) -> bytes:
        """All of it as bytes, for the dataset's fingerprint."""
