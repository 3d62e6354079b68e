"""Whitened neighbours with k-reciprocal re-ranking (Zhong et al., CVPR 2017).

Two items are near if their k-reciprocal neighbourhoods overlap: the Jaccard distance of these is mixed with the
distance of the features. Neighbourhoods are those among all queries and gallery items of a question together, so the
method uses queries that other baselines see one at a time.

The result is that of the paper, but no matrix of all pairs is held: an item has few neighbours, and the distances of
queries are computed in strips. The search for 14,218 queries among 12,612 gallery items fits into a few 100 MB besides
the features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pan_model.scoring.baselines.class_means import whitened_features
from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.baselines.untrained import unit_rows
from pan_model.shapes import Float, Int
from pan_model.tasks.ranking import SCORES_BATCH_SIZE, Ranking, best_scored
from pan_model.tasks.task import SetScorer, Task

SETTINGS: tuple[Setting, ...] = tuple(
    {"feature_power": power, "shrinkage": shrinkage, "k1": k1, "k2": k2, "distance_weight": weight}
    for power, shrinkage in ((1.0, 0.6), (0.5, 0.3), (0.5, 0.9))
    for k1, k2 in ((5, 2), (10, 3), (20, 6))
    for weight in (0.3, 0.7)
)
"""Whitening as in lda; size of neighbourhoods, neighbours that are averaged, weight of the features' distance."""


@dataclass(frozen=True, kw_only=True)
class Reranking:
    """The parameters of re-ranking.

    Attributes:
        k1: The neighbours of an item, without itself, among which reciprocal ones are looked for.
        k2: The nearest items, itself included, whose neighbourhoods are averaged; 1 for its own only.
        distance_weight: The weight of the features' distance, lambda in the paper; the Jaccard distance has the rest.
    """

    k1: int = 20
    k2: int = 6
    distance_weight: float = 0.3


def fit_reranked(task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"], /) -> Iterator[SetScorer]:
    """Whiten features on the training items; re-ranking itself has nothing to fit."""
    whitened: dict[tuple[float, float], Float[np.ndarray, "N D"]] = {}
    for setting in settings:
        key = power, shrinkage = float(setting["feature_power"]), float(setting["shrinkage"])
        if key not in whitened:
            features = whitened_features(task, inputs, feature_power=power, shrinkage=shrinkage)
            whitened = {key: unit_rows(features)}
        reranking = Reranking(
            k1=int(setting["k1"]), k2=int(setting["k2"]), distance_weight=float(setting["distance_weight"])
        )
        yield Reranked(whitened[key], reranking)


class Reranked:
    """A `SetScorer` and `GalleryRanker` by minus the re-ranked distance. The features are of unit length."""

    def __init__(self, features: Float[np.ndarray, "N D"], reranking: Reranking) -> None:
        self._features = features
        self._reranking = reranking

    def __call__(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        """Score every query by the mean over the set's items; neighbourhoods are those within the question."""

        def score(query: Int[np.ndarray, "Q"], members: Int[np.ndarray, "C S"]) -> Float[Tensor, "Q C"]:
            strips = [scores for _, scores in self._strips(query, members.ravel())]
            return torch.cat(strips).unflatten(1, members.shape).mean(dim=2)

        return torch.stack([score(*question) for question in zip(queries, sets, strict=True)]).float().numpy()

    def rank(self, queries: Int[np.ndarray, "Q"], gallery: Int[np.ndarray, "G"], k: int) -> Ranking:
        """Return the k best-scored gallery items of each query, see `Ranking`."""
        of_gallery = torch.from_numpy(gallery)
        rankings: list[Ranking] = []
        for strip, scores in self._strips(queries, gallery):
            unknown = scores.isnan().any(dim=1).numpy()
            same = torch.from_numpy(strip)[:, None] == of_gallery
            rankings.append(Ranking(best_scored(scores.masked_fill(same, -torch.inf), k).columns.numpy(), unknown))
        return Ranking.joined(rankings)

    def _strips(
        self, queries: Int[np.ndarray, "Q"], gallery: Int[np.ndarray, "G"]
    ) -> Iterator[tuple[Int[np.ndarray, "_"], Float[Tensor, "_ G"]]]:
        """Yield strips of queries with their scores for the whole gallery."""
        items = np.unique(np.concatenate([queries, gallery]))
        features = torch.from_numpy(self._features[items])
        neighbours = _find_neighbours(features, max(self._reranking.k1 + 1, self._reranking.k2))
        overlaps = _Overlaps(_encode(features, neighbours, self._reranking))
        columns = np.searchsorted(items, gallery)
        weight = self._reranking.distance_weight
        for strip in np.array_split(queries, -(-len(queries) * len(items) // SCORES_BATCH_SIZE)):
            rows = np.searchsorted(items, strip)
            distances = _distances(features[rows], features) / neighbours.largest[rows, None]
            jaccard = np.stack([overlaps.jaccard_distances(row)[columns] for row in rows.tolist()])
            yield strip, -(weight * distances[:, columns] + (1 - weight) * torch.from_numpy(jaccard))


class _Neighbours(NamedTuple):
    """The k nearest items of each of n items, itself first, and the largest distance of each to any item."""

    items: Int[np.ndarray, "n k"]
    largest: Float[Tensor, "n"]


def _distances(x: Float[Tensor, "m D"], y: Float[Tensor, "n D"]) -> Float[Tensor, "m n"]:
    """Return the squared distances of unit vectors."""
    return (2 - 2 * x @ y.T).clamp_(min=0)


def _find_neighbours(features: Float[Tensor, "n D"], k: int) -> _Neighbours:
    """Find the k nearest items of each item; all of them if there are fewer."""
    k = min(k, len(features))
    items, largest, start = list[Tensor](), list[Tensor](), 0
    for strip in features.split(max(1, SCORES_BATCH_SIZE // len(features))):
        distances = _distances(strip, features)
        largest.append(distances.amax(dim=1).clamp(min=torch.finfo(distances.dtype).tiny))
        distances[torch.arange(len(strip)), torch.arange(len(strip)) + start] = -1.0  # itself comes before its copies
        items.append(best_scored(-distances, k).columns)
        start += len(strip)
    return _Neighbours(torch.cat(items).numpy(), torch.cat(largest))


_Row = tuple[Int[np.ndarray, "_"], Float[np.ndarray, "_"]]
"""The columns of a row that are not zero, ascending, and their values."""


class _Rows(NamedTuple):
    """A sparse matrix of n rows: those of row i are `columns` and `values` from `starts[i]` to `starts[i + 1]`."""

    starts: Int[np.ndarray, "_"]
    columns: Int[np.ndarray, "_"]
    values: Float[np.ndarray, "_"]

    @classmethod
    def joined(cls, rows: Sequence[_Row]) -> "_Rows":
        """Build a matrix from the columns and values of each row."""
        starts = np.cumsum([0, *(len(columns) for columns, _ in rows)])
        return cls(starts, np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows]))

    def row(self, number: int) -> _Row:
        """Return the columns and values of a row."""
        place = slice(self.starts[number], self.starts[number + 1])
        return self.columns[place], self.values[place]

    def mean_of(self, numbers: Int[np.ndarray, "_"]) -> _Row:
        """Return the mean of some rows."""
        rows = [self.row(number) for number in numbers.tolist()]
        columns, place = np.unique(np.concatenate([row[0] for row in rows]), return_inverse=True)
        return columns, np.bincount(place, weights=np.concatenate([row[1] for row in rows])) / len(rows)

    def transposed(self) -> "_Rows":
        """Return the matrix whose rows are the columns of this one."""
        order = np.argsort(self.columns, kind="stable")
        num_rows = len(self.starts) - 1
        starts = np.searchsorted(self.columns[order], np.arange(num_rows + 1))
        return _Rows(starts, np.repeat(np.arange(num_rows), np.diff(self.starts))[order], self.values[order])


def _encode(features: Float[Tensor, "n D"], neighbours: _Neighbours, reranking: Reranking) -> _Rows:
    """Return the neighbourhood of each item as weights that add up to 1.

    It has the item's k-reciprocal neighbours, and those of half the k of each of them of which more than two thirds
    are among the item's own. The nearest items' neighbourhoods are then averaged.
    """
    whole = _reciprocal(neighbours.items[:, : reranking.k1 + 1])
    half = _reciprocal(neighbours.items[:, : round(reranking.k1 / 2) + 1])
    rows = list[_Row]()
    for item, members in enumerate(whole):
        grown = members.union(*(half[near] for near in members if 3 * len(half[near] & members) > 2 * len(half[near])))
        columns = np.array(sorted(grown), dtype=np.int64)
        distances = _distances(features[item : item + 1], features[torch.from_numpy(columns)])[0]
        weights = (-distances / neighbours.largest[item]).exp().numpy()
        rows.append((columns, weights / weights.sum()))
    encoded = _Rows.joined(rows)
    if reranking.k2 == 1:
        return encoded
    return _Rows.joined([encoded.mean_of(nearest) for nearest in neighbours.items[:, : reranking.k2]])


class _Overlaps:
    """The Jaccard distances of neighbourhoods: 1 - sum(min(v, w)) / sum(max(v, w)), for weights that add up to 1."""

    def __init__(self, encoded: _Rows) -> None:
        self._encoded = encoded
        self._holders = encoded.transposed()

    def jaccard_distances(self, item: int) -> Float[np.ndarray, "n"]:
        """Return the distance of an item's neighbourhood to that of every item."""
        columns, values = self._encoded.row(item)
        holders = [self._holders.row(column) for column in columns.tolist()]
        shared = np.concatenate([np.minimum(row[1], value) for row, value in zip(holders, values, strict=True)])
        items = np.concatenate([row[0] for row in holders])
        overlap = np.bincount(items, weights=shared, minlength=len(self._encoded.starts) - 1)
        return (1 - overlap / (2 - overlap)).astype(np.float32)


def _reciprocal(neighbours: Int[np.ndarray, "n k"]) -> list[frozenset[int]]:
    """Return the neighbours of each item that have it among their own neighbours."""
    num_items = len(neighbours)
    codes = np.arange(num_items)[:, None] * num_items + neighbours
    backward = neighbours * num_items + np.arange(num_items)[:, None]
    mutual = np.isin(backward, codes)
    return [frozenset(row[kept].tolist()) for row, kept in zip(neighbours, mutual, strict=True)]
