"""Triplets: an item, one of the same class or outfit, and one of another."""

from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from pan_model.errors import UserError
from pan_model.shapes import Bool, Float, Int


class Groups(NamedTuple):
    """Which items belong together: each item once for each group that it is in, and that group's label."""

    items: Int[np.ndarray, "n"]
    labels: Int[np.ndarray, "n"]


def triplet_loss(
    anchors: Float[Tensor, "T D"], positives: Float[Tensor, "T D"], negatives: Float[Tensor, "T D"], margin: float
) -> Float[Tensor, ""]:
    """Mean over T triplets of max(0, d(a, p) - d(a, n) + margin), d the squared distance of L2-normalised vectors.

    Squared distance and margin are those of PAN's first stage; that lengths are taken away is ours (not published): a
    margin of 0.2 would say nothing of features of length 30.

    >>> import torch
    >>> a, p, n = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]], [[0.0, 3.0]]])  # both are at sqrt(2)
    >>> round(triplet_loss(a, p, n, 0.2).item(), 4)
    0.2
    """
    anchors, positives, negatives = (F.normalize(part, dim=1) for part in (anchors, positives, negatives))
    gap = (anchors - positives).square().sum(dim=1) - (anchors - negatives).square().sum(dim=1)
    return F.relu(gap + margin).mean()


class TripletSampler:
    """Draws the triplets of an epoch: one for each item and group in which it has a partner.

    The positive is another item of that group, the negative an item that shares no group with the anchor; anchors of
    which there is none are left out. Raises UserError when that leaves no triplet at all.
    """

    def __init__(self, groups: Groups) -> None:
        entries = np.unique(np.stack([groups.labels, groups.items]), axis=1)
        self._items = entries[1]
        _, starts, places, sizes = np.unique(entries[0], return_index=True, return_inverse=True, return_counts=True)
        self._starts, self._sizes = starts[places], sizes[places]
        self._pool, rows = np.unique(self._items, return_inverse=True)
        self._groups_of = _table(rows, entries[0], len(self._pool))
        self._rows = rows
        self._anchors = self._with_partners()
        if not len(self._anchors):
            raise UserError(
                f"training with triplets needs items of the same class or outfit and items of another, got "
                f"{len(self._pool)} items in {len(sizes)} classes or outfits that make none."
            )

    def draw(self, generator: np.random.Generator) -> Int[np.ndarray, "T 3"]:
        """Draw anchors, each once, in random order, with their positives and negatives."""
        entries = generator.permutation(self._anchors)
        steps = generator.integers(1, self._sizes[entries])
        places = (entries - self._starts[entries] + steps) % self._sizes[entries]
        positives = self._items[self._starts[entries] + places]
        return np.stack([self._items[entries], positives, self._pool[self._negatives(entries, generator)]], axis=1)

    def _negatives(self, entries: Int[np.ndarray, "T"], generator: np.random.Generator) -> Int[np.ndarray, "T"]:
        anchors = self._rows[entries]
        drawn = generator.integers(len(self._pool), size=len(anchors))
        while len(wrong := np.flatnonzero(self._share(anchors, drawn))):
            drawn[wrong] = generator.integers(len(self._pool), size=len(wrong))
        return drawn

    def _with_partners(self) -> Int[np.ndarray, "T"]:
        """The entries that have a positive and a negative."""
        chosen = np.flatnonzero(self._sizes > 1)
        if self._sizes.max() == len(self._pool) == len(self._items):
            return chosen[:0]  # one group, which would be the slow case of what follows
        everybody = np.arange(len(self._pool))
        # Only who meets as many entries as there are items can share a group with each of them.
        met = np.bincount(self._rows, weights=self._sizes, minlength=len(self._pool))
        suspects = np.flatnonzero(met >= len(self._pool))
        lonely = [row for row in suspects if self._share(np.full_like(everybody, row), everybody).all()]
        return chosen[~np.isin(self._rows[chosen], lonely)]

    def _share(self, one: Int[np.ndarray, "P"], other: Int[np.ndarray, "P"]) -> Bool[np.ndarray, "P"]:
        """Whether two items have a group in common."""
        share = np.zeros(len(one), dtype=bool)
        for column in self._groups_of.T:
            share |= ((column[one] >= 0)[:, None] & (column[one][:, None] == self._groups_of[other])).any(axis=1)
        return share


def _table(rows: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"], num_rows: int) -> Int[np.ndarray, "R K"]:
    """The groups of each row, filled up with -1; labels are numbered anew."""
    _, labels = np.unique(labels, return_inverse=True)
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=num_rows)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((num_rows, counts.max(initial=1)), -1, dtype=np.int64)
    table[rows[order], columns] = labels[order]
    return table
