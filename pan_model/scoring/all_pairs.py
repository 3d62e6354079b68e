"""PAN's scores of all pairs of queries and gallery items, of which only the best of each query are kept.

Scores are computed in strips of queries, so that memory is bounded however many pairs there are. If the gallery is the
list of queries itself and the joint representation is symmetric, each unordered pair is scored once.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pan_model.errors import UserError
from pan_model.model.pan import Pan, Scoring
from pan_model.model.similarity import Joint
from pan_model.scoring.pair_mixture import PairMixture, measure_scale, sampled_items
from pan_model.shapes import Float, Int
from pan_model.tasks.ranking import SCORES_BATCH_SIZE, BestScored, Ranking, best_scored

STRIP = {"cpu": 256, "cuda": 4096}
"""Most queries of a strip if each unordered pair is scored once; within a strip pairs are scored twice."""


@runtime_checkable
class BlockScorer(Protocol):
    """Scores all pairs of two lists of items: a `PairScorer`, or a `PairMixture`."""

    joint: Joint

    def left(self, embeddings: Float[Tensor, "N E"]) -> Float[Tensor, "N R"]:
        """Return what items contribute to the pairs in which they come first."""
        ...

    def right(self, embeddings: Float[Tensor, "N E"]) -> Float[Tensor, "N R"]:
        """Return what items contribute to the pairs in which they come second."""
        ...

    def block(self, left: Float[Tensor, "Q R"], right: Float[Tensor, "G R"]) -> Float[Tensor, "Q G"]:
        """Score every item of one list with every item of another."""
        ...


class MostSimilar(NamedTuple):
    """The gallery items that are most similar to each of Q queries.

    Attributes:
        items: Their positions in the gallery, best first.
        scores: Their scores, see `Pan.score_pairs`; NaN if a score of the query is NaN.
    """

    items: Int[Tensor, "Q k"]
    scores: Float[Tensor, "Q k"]


@torch.inference_mode()
def most_similar(
    model: Pan, queries: Float[Tensor, "Q E"], gallery: Float[Tensor, "G _"] | None = None, *, k: int = 10
) -> MostSimilar:
    """Find the k gallery items with the highest score for each query; equal scores are in gallery order.

    Args:
        model: A trained model.
        queries: The embeddings of the queries, `model.embed(features)`.
        gallery: The embeddings of the gallery. By default it is the list of queries, in which no query finds itself.
        k: The number of items to find for each query.

    Raises:
        UserError: `k` is less than 1 or more than there are items, or the embeddings have not the model's length.
    """
    embedding_dim, available = model.encoder.embedding_dim, len(queries) - 1 if gallery is None else len(gallery)
    for name, embeddings in (("queries", queries), ("gallery", gallery)):
        if embeddings is not None and embeddings.shape[1:] != (embedding_dim,):
            raise UserError(
                f"{name} must have shape (number of items, {embedding_dim}), got {tuple(embeddings.shape)}; "
                "pass model.embed(features)."
            )
    if not 1 <= k <= available:
        raise UserError(f"k must be from 1 to {available}, the number of items that a query can find, got {k}.")
    scorer = model.pair_scorer()
    if gallery is None:
        items = torch.arange(len(queries), device=queries.device)
        best = _best_of_gallery(scorer, queries, queries, items, items, k)
    else:
        others = torch.arange(len(gallery), device=queries.device)
        best = _best_of_gallery(scorer, queries, gallery, others.new_full((len(queries),), -1), others, k)
    return MostSimilar(best.columns, best.scores.masked_fill(best.unknown[:, None], torch.nan))


def gallery_scorer(model: Pan, embeddings: Float[Tensor, "N E"]) -> BlockScorer:
    """Return a scorer of pairs by the model's rule for sets of one item, for a mixture on the scale of `embeddings`."""
    if model.scoring is not Scoring.MIXTURE:
        return model.pair_scorer()
    sample = torch.from_numpy(sampled_items(len(embeddings))).to(embeddings.device)
    return PairMixture(model, measure_scale(model, embeddings[sample]))


@torch.inference_mode()
def rank_embedded(
    model: Pan,
    embeddings: Float[Tensor, "N E"],
    queries: Int[np.ndarray, "Q"],
    gallery: Int[np.ndarray, "G"],
    k: int,
    scorer: BlockScorer | None = None,
) -> Ranking:
    """Rank a gallery for queries, both given as rows of `embeddings`; see `Ranking`.

    Args:
        model: A trained model.
        embeddings: The embeddings of N items.
        queries: The rows of the queries.
        gallery: The rows of the gallery.
        k: The number of items to find for each query.
        scorer: Scores the pairs; by default `gallery_scorer` of the embeddings.
    """
    scorer = scorer or gallery_scorer(model, embeddings)
    rows, columns = (torch.tensor(index, device=embeddings.device) for index in (queries, gallery))
    best = _best_of_gallery(scorer, embeddings[rows], embeddings[columns], rows, columns, k)
    return Ranking(best.columns.cpu().numpy(), best.unknown.cpu().numpy())


def _best_of_gallery(
    scorer: BlockScorer,
    queries: Float[Tensor, "Q E"],
    gallery: Float[Tensor, "G E"],
    query_items: Int[Tensor, "Q"],
    gallery_items: Int[Tensor, "G"],
    k: int,
) -> BestScored:
    """Return the k best of the gallery, in which no query finds the gallery item with its own number."""
    same = torch.equal(query_items, gallery_items) and len(gallery_items.unique()) == len(gallery_items)
    if same and scorer.joint.symmetric:
        return _best_among(scorer, scorer.left(queries), k)
    right = scorer.right(gallery)
    size = max(1, SCORES_BATCH_SIZE // max(len(gallery), 1))
    strips: list[BestScored] = []
    for strip, items in zip(queries.split(size), query_items.split(size), strict=True):
        scores = scorer.block(scorer.left(strip), right)
        unknown = scores.amax(dim=1).isnan()
        best = best_scored(scores.masked_fill_(items[:, None] == gallery_items, -torch.inf), k)
        strips.append(best._replace(unknown=unknown))
    return BestScored(*(torch.cat(columns) for columns in zip(*strips, strict=True)))


def _best_among(scorer: BlockScorer, items: Float[Tensor, "N R"], k: int) -> BestScored:
    """Return the k best of all items for each of them, itself last.

    A strip of rows is scored against the items from its first on. Its columns after the strip are scores of later
    rows, which keep the best so far; their positions ascend from strip to strip, as a stable order needs.
    """
    size = max(1, min(STRIP[items.device.type], SCORES_BATCH_SIZE // max(len(items), 1)))
    positions = torch.arange(len(items), device=items.device)
    scores, columns = items.new_empty(len(items), 0), positions.new_empty(len(items), 0)
    unknown = torch.zeros(len(items), dtype=torch.bool, device=items.device)
    ended: list[BestScored] = []
    for strip in positions.split(size):
        first, after = len(strip), int(strip[-1]) + 1
        block = scorer.block(items[strip], items[strip[0] :])
        square = block[:, :first].triu()
        block[:, :first] = square + square.triu(1).T
        nan_rows = block.amax(dim=1).isnan()
        nan_columns = block[:, first:].isnan().any(dim=0)
        block.diagonal().fill_(-torch.inf)
        own = _merged(scores[:first], columns[:first], block, positions[strip[0] :], k)
        ended.append(own._replace(unknown=own.unknown | nan_rows | unknown[:first]))
        later = _merged(scores[first:], columns[first:], block[:, first:].T, strip, k)
        scores, columns = later.scores, later.columns
        unknown = unknown[first:] | nan_columns
        assert len(scores) == len(items) - after
    return BestScored(*(torch.cat(parts) for parts in zip(*ended, strict=True)))


def _merged(
    scores: Float[Tensor, "R c"],
    columns: Int[Tensor, "R c"],
    new_scores: Float[Tensor, "R n"],
    new_columns: Int[Tensor, "n"],
    k: int,
) -> BestScored:
    """Return the k best of the best so far and of new scores, whose columns come after those so far."""
    candidates = torch.cat([scores, new_scores], dim=1)
    if len(candidates) == 0:
        return BestScored(scores, columns, torch.zeros(0, dtype=torch.bool, device=scores.device))
    best = best_scored(candidates, min(k, candidates.shape[1]))
    of_candidates = torch.cat([columns, new_columns.expand(len(candidates), -1)], dim=1)
    return best._replace(columns=of_candidates.gather(1, best.columns))
