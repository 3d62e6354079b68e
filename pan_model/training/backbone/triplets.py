"""Triplets: an item, a second of the same class or outfit, and a third of another."""

from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from pan_model.errors import UserError
from pan_model.shapes import Bool, Float, Int


class Groups(NamedTuple):
    """Groups of items: each item once for each of its groups, with the group's label."""

    items: Int[np.ndarray, "n"]
    labels: Int[np.ndarray, "n"]


def triplet_loss(
    anchors: Float[Tensor, "T D"], positives: Float[Tensor, "T D"], negatives: Float[Tensor, "T D"], margin: float
) -> Float[Tensor, ""]:
    """Return the mean over T triplets of max(0, d(a, p) - d(a, n) + margin).

    d is the squared distance of L2-normalised vectors. Squared distance and margin are those of PAN's first stage; the
    normalisation is ours (not published), since a margin of 0.2 is negligible for features of length 30.

    Args:
        anchors: The features of the anchors.
        positives: The features of items of the anchors' classes or outfits.
        negatives: The features of items of other classes or outfits.
        margin: The margin between the two distances.

    >>> import torch
    >>> a, p, n = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]], [[0.0, 3.0]]])  # both are at sqrt(2)
    >>> round(triplet_loss(a, p, n, 0.2).item(), 4)
    0.2
    """
    anchors, positives, negatives = (F.normalize(features, dim=1) for features in (anchors, positives, negatives))
    gap = (anchors - positives).square().sum(dim=1) - (anchors - negatives).square().sum(dim=1)
    return F.relu(gap + margin).mean()


class TripletSampler:
    """Draws the triplets of an epoch: one for each item and each group that holds another item.

    The positive is another item of that group, the negative an item that shares no group with the anchor. Anchors
    without a negative are left out.

    Raises:
        UserError: There is no triplet at all.
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
        """Return the entries that have a positive and a negative."""
        chosen = np.flatnonzero(self._sizes > 1)
        if self._sizes.max() == len(self._pool) == len(self._items):
            return chosen[:0]  # one group: the code below would be slow
        all_rows = np.arange(len(self._pool))
        # Only an item whose groups have as many entries as there are items can share a group with every item.
        num_met = np.bincount(self._rows, weights=self._sizes, minlength=len(self._pool))
        candidates = np.flatnonzero(num_met >= len(self._pool))
        without_negative = [row for row in candidates if self._share(np.full_like(all_rows, row), all_rows).all()]
        return chosen[~np.isin(self._rows[chosen], without_negative)]

    def _share(self, rows_1: Int[np.ndarray, "P"], rows_2: Int[np.ndarray, "P"]) -> Bool[np.ndarray, "P"]:
        """Return whether two items share a group."""
        share = np.zeros(len(rows_1), dtype=bool)
        for column in self._groups_of.T:
            share |= ((column[rows_1] >= 0)[:, None] & (column[rows_1][:, None] == self._groups_of[rows_2])).any(axis=1)
        return share


def _table(rows: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"], num_rows: int) -> Int[np.ndarray, "R K"]:
    """Return the groups of each row, padded with -1; labels are renumbered."""
    _, labels = np.unique(labels, return_inverse=True)
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=num_rows)
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((num_rows, counts.max(initial=1)), -1, dtype=np.int64)
    table[rows[order], columns] = labels[order]
    return table
