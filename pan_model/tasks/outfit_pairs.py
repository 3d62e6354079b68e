"""Edges and non-edges of PAN's graph on Polyvore: pairs of items that share an outfit, and pairs that share none."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from pan_model.data.polyvore.outfits import Outfit
from pan_model.errors import UserError
from pan_model.shapes import Int


def outfit_pairs(outfits: Iterable[Outfit]) -> Int[np.ndarray, "2 T"]:
    """List every unordered pair of different items that share an outfit, once, the smaller index first.

    >>> outfit_pairs([(3, 1), (1, 3, 2)]).tolist()
    [[1, 1, 2], [2, 3, 3]]
    """
    by_size: defaultdict[int, list[Outfit]] = defaultdict(list)
    for outfit in outfits:
        by_size[len(outfit)].append(outfit)
    of_sizes = [np.empty((2, 0), dtype=np.int64)]
    for size, of_size in by_size.items():
        items = np.sort(np.array(of_size, dtype=np.int64), axis=1)
        of_sizes += [np.stack([items[:, i], items[:, j]]) for i, j in np.transpose(np.triu_indices(size, k=1))]
    pairs = np.concatenate(of_sizes, axis=1)
    base = pairs.max(initial=0) + 1
    codes = np.unique(pairs[0] * base + pairs[1])
    listed = np.stack([codes // base, codes % base])
    return listed[:, listed[0] < listed[1]]


class NonEdges:
    """Pairs of items (n, ascending) that are not edges; edges are pairs of these items, as `outfit_pairs` returns them.

    Raises:
        UserError: Every two items share an outfit.
    """

    def __init__(self, items: Int[np.ndarray, "n"], edges: Int[np.ndarray, "2 T"]) -> None:
        if edges.shape[1] >= len(items) * (len(items) - 1) // 2:
            raise UserError(f"training needs items that share no outfit, got {len(items)} that all do.")
        self._items = items
        self._edges = np.sort(self._codes(np.searchsorted(items, edges)))

    def draw(self, num_pairs: int, generator: np.random.Generator) -> Int[np.ndarray, "2 P"]:
        """Draw pairs with repetition, each equally likely."""
        drawn = np.empty((2, 0), dtype=np.int64)
        while drawn.shape[1] < num_pairs:
            places = generator.integers(len(self._items), size=(2, 2 * (num_pairs - drawn.shape[1]) + 16))
            places = places[:, places[0] != places[1]]
            codes = self._codes(places)
            new = np.searchsorted(self._edges, codes, "left") == np.searchsorted(self._edges, codes, "right")
            drawn = np.concatenate([drawn, places[:, new]], axis=1)
        return self._items[drawn[:, :num_pairs]]

    def _codes(self, places: Int[np.ndarray, "2 P"]) -> Int[np.ndarray, "P"]:
        """Return a number for each unordered pair of positions among the items."""
        return places.min(axis=0) * len(self._items) + places.max(axis=0)
