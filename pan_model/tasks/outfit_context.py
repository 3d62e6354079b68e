"""What a graph encoder may know beside a question on outfits: edges of outfits that cannot give its answer away."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

import numpy as np

from pan_model.data.polyvore.outfits import Outfit
from pan_model.model.graph import unique_edges
from pan_model.shapes import Int


class OutfitContext:
    """The outfits of a split as a graph, whose edges are pairs of items that share an outfit.

    Candidates are compared for a place beside a set of items. Known are the edges of those outfits alone that hold no
    candidate. The questioned outfit holds the right one, so that it is out, listed or not, and its copies with it; no
    candidate has an edge, and no outfit links one to the set.

    To take the questioned outfit's edges away and to leave all others would not do. Most items are in one outfit: the
    right candidate would lose its neighbours and the wrong ones would keep theirs, so that whoever counts edges knows
    the answer. This is why outfits of wrong candidates go too, and why a question with one candidate has no edges at
    all: outfits whose compatibility is asked for are compared with one another, those that were made up hold items that
    lost nothing, and no edge could be shown of the one that would not tell it from the other.
    """

    def __init__(self, outfits: Sequence[Outfit]) -> None:
        self._outfits_of: defaultdict[int, list[Outfit]] = defaultdict(list)
        for outfit in outfits:
            for item in outfit:
                self._outfits_of[item].append(outfit)

    def edges_around(
        self, candidates: Int[np.ndarray, "Q"], items: Int[np.ndarray, "S"], context: int
    ) -> Int[np.ndarray, "2 L"]:
        """Give at most `context` edges for each item of the set, breadth first from it; each edge once.

        >>> outfits = OutfitContext([(0, 1), (1, 2), (2, 3), (1, 4)])
        >>> outfits.edges_around(np.array([0, 4]), np.array([1]), 2).tolist()
        [[1, 2], [2, 3]]
        """
        hidden = frozenset(candidates.tolist())
        if len(hidden) < 2 or context == 0:
            return np.empty((2, 0), dtype=np.int64)
        starts: list[int] = np.unique(items).tolist()
        edges = [edge for start in starts for edge in self._walk(start, hidden, context)]
        return unique_edges(np.array(edges, dtype=np.int64).reshape(-1, 2).T)

    def _walk(self, start: int, hidden: frozenset[int], most: int) -> list[tuple[int, int]]:
        edges: dict[tuple[int, int], None] = {}
        seen, waiting = {start}, deque([start])
        while waiting:
            item = waiting.popleft()
            for other in self._neighbours(item, hidden):
                edges[min(item, other), max(item, other)] = None
                if len(edges) == most:
                    return list(edges)
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
        return list(edges)

    def _neighbours(self, item: int, hidden: frozenset[int]) -> Iterator[int]:
        """Yield who shares an outfit with an item, outfit by outfit in the order of the file."""
        for outfit in self._outfits_of.get(item, ()):
            if hidden.isdisjoint(outfit):
                yield from (other for other in outfit if other != item)
