"""The edges that a graph encoder may use for a question on outfits without learning its answer."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

import numpy as np

from pan_model.data.polyvore.outfits import Outfit
from pan_model.model.graph import unique_edges
from pan_model.shapes import Int


class OutfitContext:
    """The outfits of a split as a graph, whose edges are pairs of items that share an outfit.

    A question compares candidates for a set of items. Only edges of outfits without any candidate are visible. This
    hides the questioned outfit and its copies, which hold the correct candidate. No candidate has an edge.

    Hiding the questioned outfit alone would reveal the answer. Most items are in a single outfit: the correct candidate
    would have no neighbours, the wrong ones would keep theirs. For the same reason a question with one candidate, on
    the compatibility of an outfit, has no edges: made-up outfits hold items whose own outfits would stay visible.
    """

    def __init__(self, outfits: Sequence[Outfit]) -> None:
        self._outfits_of: defaultdict[int, list[Outfit]] = defaultdict(list)
        for outfit in outfits:
            for item in outfit:
                self._outfits_of[item].append(outfit)

    def edges_around(
        self, candidates: Int[np.ndarray, "Q"], items: Int[np.ndarray, "S"], context: int
    ) -> Int[np.ndarray, "2 L"]:
        """Return at most `context` edges for each item of the set, breadth first from it; each edge once.

        Args:
            candidates: The candidates of the question.
            items: The items of the set.
            context: The most edges for each item of the set.

        Returns:
            Edges as pairs of items; none if there are fewer than two candidates.

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
            for neighbour in self._neighbours(item, hidden):
                edges[min(item, neighbour), max(item, neighbour)] = None
                if len(edges) == most:
                    return list(edges)
                if neighbour not in seen:
                    seen.add(neighbour)
                    waiting.append(neighbour)
        return list(edges)

    def _neighbours(self, item: int, hidden: frozenset[int]) -> Iterator[int]:
        """Yield the items that share an outfit with an item, outfit by outfit in file order."""
        for outfit in self._outfits_of.get(item, ()):
            if hidden.isdisjoint(outfit):
                yield from (neighbour for neighbour in outfit if neighbour != item)
