"""The best-scored gallery items of queries: what recall and nearest images need of all pairs' scores.

A scorer ranks by itself if it is a `GalleryRanker`; `pan_model.tasks.task.rank_gallery` ranks for all others.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pan_model.shapes import Bool, Float, Int

SCORES_BATCH_SIZE = 2**22
"""Scores that are held at a time, or those of one query if the gallery is larger: bounds memory."""


class Ranking(NamedTuple):
    """The k best-scored gallery items of each of Q queries.

    Equal scores are ranked in gallery order. A query that is in the gallery itself has score -inf for itself.

    Attributes:
        best: Positions in the gallery, best first.
        unknown: Whether one of the query's scores is NaN; its row of `best` then means nothing.
    """

    best: Int[np.ndarray, "Q k"]
    unknown: Bool[np.ndarray, "Q"]

    @classmethod
    def joined(cls, rankings: Sequence["Ranking"]) -> "Ranking":
        """Join the rankings of several lists of queries."""
        return cls(*(np.concatenate(columns) for columns in zip(*rankings, strict=True)))


@runtime_checkable
class GalleryRanker(Protocol):
    """A scorer that ranks a gallery without returning the scores of all pairs."""

    def rank(self, queries: Int[np.ndarray, "Q"], gallery: Int[np.ndarray, "G"], k: int) -> Ranking:
        """Return the k best-scored of G items for each of Q items, k at most G."""
        ...


class BestScored(NamedTuple):
    """The k best of C scores in each of R rows, best first.

    Attributes:
        scores: The scores.
        columns: Their columns; of equal scores the first columns come first.
        unknown: Whether a score of the row is NaN; its other values then mean nothing.
    """

    scores: Float[Tensor, "R k"]
    columns: Int[Tensor, "R k"]
    unknown: Bool[Tensor, "R"]


def best_scored(scores: Float[Tensor, "R C"], k: int) -> BestScored:
    """Return the first k columns of a stable sort of each row, descending.

    >>> best_scored(torch.tensor([[1.0, 3.0, 1.0, 3.0, 1.0]]), 3).columns.tolist()
    [[1, 3, 0]]
    """
    unknown = scores.amax(dim=1).isnan()
    if unknown.any():
        scores = scores.masked_fill(unknown[:, None], -torch.inf)
    values, columns = scores.topk(k, dim=1)
    last = values[:, -1:]
    tied = (scores >= last).sum(dim=1) > k  # topk takes any of the equal scores
    if tied.any():
        above, equal = scores[tied] > last[tied], scores[tied] == last[tied]
        first = equal & (equal.cumsum(dim=1) <= k - above.sum(dim=1, keepdim=True))
        columns[tied] = (above | first).nonzero()[:, 1].view(-1, k)
    columns = columns.sort(dim=1).values
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return BestScored(values, columns.gather(1, order), unknown)
