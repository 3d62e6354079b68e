"""Log-odds of queries and sets that are adapted to a question through the conditions, see `Scoring`.

condition_classifier: the score of a query q and a set k is l_qk + w' f_qk, with the mean log-odds l of their pairs, and
for each condition the mean log-odds f of s_m. The weights w are the same for all sets. They are fitted to the items of
the sets as a conditional logit: each is a query that has its own set to find, from which it is left out. The fit takes
two Newton steps from w = 0.

adapted_relevance: the relevance logits of all pairs of a question are shifted by a vector a. It is fitted to the pairs
of two items of the sets by a logistic regression of whether both are of one set, which takes one Newton step from
a = 0, where the log-odds have the gradient r_m (s_m / p - (1 - s_m) / (1 - p)).

Both w and a have an L2 penalty, relative to features of mean square 1, that holds them near 0: the model's own
behaviour.

Shape letters: B questions, Q queries, C sets of S items, n = C S items of all sets, M conditions, P pairs.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pan_model.model.pan import Pan
from pan_model.model.similarity import PairSimilarity
from pan_model.shapes import Float, Int

GATHERED_LOGITS = {"cpu": 2**23, "cuda": 2**27}
"""Logits of pairs that are gathered at a time."""

TABLE = 2**24
"""Most pairs of items of which a table is kept, to find those that occur; for more they are sorted."""

NEWTON_STEPS = 2


class _Pairs(NamedTuple):
    """The pairs of queries with items, and of items with each other, in B questions.

    Attributes:
        logits: The outputs of the P distinct pairs, with logits of relevance instead of their logarithm.
        of_queries: The pairs of each query with the items.
        of_items: The pairs of each item with the items.
        sets: The set of each item.
    """

    logits: PairSimilarity
    of_queries: Int[Tensor, "B Q n"]
    of_items: Int[Tensor, "B n n"]
    sets: Int[Tensor, "n"]


def by_condition_classifier(
    model: Pan, embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]
) -> Float[np.ndarray, "B Q C"]:
    """Return the log-odds, corrected by a classifier on the conditions' log-odds."""

    def score(pairs: _Pairs) -> Float[Tensor, "B Q C"]:
        table = torch.cat([pairs.logits.similarity_logits, _log_odds(pairs.logits)[:, None]], dim=1)
        targets = nn.functional.one_hot(pairs.sets).to(table.dtype)
        others = 1 - torch.eye(len(targets), dtype=table.dtype, device=table.device)
        of_items = _set_means(table, pairs.of_items, others, sets.shape[1])
        of_queries = _set_means(table, pairs.of_queries, torch.ones_like(others[:1]), sets.shape[1])
        features = of_items[..., :-1] - of_items[..., :-1].mean(dim=2, keepdim=True)
        scale = _root_mean_square(features.square().sum(dim=3))[..., None]
        weights = _fit_conditional_logit(features / scale, of_items[..., -1], targets, model.classifier_c)
        return of_queries[..., -1] + ((of_queries[..., :-1] / scale) @ weights[:, None, :, None]).squeeze(3)

    return _score(model, embeddings, queries, sets, score)


def by_adapted_relevance(
    model: Pan, embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]
) -> Float[np.ndarray, "B Q C"]:
    """Return the mean log-odds of pairs whose relevance is adapted to the question."""

    def score(pairs: _Pairs) -> Float[Tensor, "B Q C"]:
        similarity, relevance = pairs.logits
        first, second = torch.triu_indices(len(pairs.sets), len(pairs.sets), 1, device=similarity.device)
        same = (pairs.sets[first] == pairs.sets[second]).to(similarity.dtype)
        halves = len(pairs.sets) / 2 * (same / same.sum() + (1 - same) / (1 - same).sum())
        places = pairs.of_items[:, first, second]
        gradients = _relevance_gradient(pairs.logits)[places]
        p = torch.sigmoid(_log_odds(pairs.logits)[places])
        scale = _root_mean_square(gradients.square().sum(dim=2, keepdim=True))
        rows = gradients / scale
        slope = (rows.mT @ (halves * (same - p))[:, :, None]).squeeze(2)
        shift = _solve(rows * (halves * p * (1 - p)).sqrt()[:, :, None], model.classifier_c, model.classifier_c * slope)
        shifted = relevance[pairs.of_queries] + (shift / scale[:, 0])[:, None, None]
        return (
            _log_odds(PairSimilarity(similarity[pairs.of_queries], shifted)).unflatten(2, (-1, sets.shape[2])).mean(3)
        )

    return _score(model, embeddings, queries, sets, score)


@torch.inference_mode()
def _score(
    model: Pan,
    embeddings: Float[Tensor, "N E"],
    queries: Int[np.ndarray, "B Q"],
    sets: Int[np.ndarray, "B C S"],
    score: Callable[[_Pairs], Float[Tensor, "B Q C"]],
) -> Float[np.ndarray, "B Q C"]:
    """Score pieces of the questions; those with an item that is not finite have no scores."""
    scores = [
        score(pairs).masked_fill(~finite[:, None, None], torch.nan).cpu().numpy()
        for pairs, finite in _pieces(model, embeddings, queries, sets)
    ]
    return np.concatenate(scores) if scores else np.zeros((*queries.shape, sets.shape[1]), dtype=np.float32)


def _pieces(
    model: Pan, embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]
) -> Iterator[tuple[_Pairs, Tensor]]:
    """Yield the pairs of some questions at a time, and which of these questions have finite items."""
    scorer, device, num_items = model.pair_scorer(), embeddings.device, sets.shape[1] * sets.shape[2]
    labels = torch.arange(sets.shape[1], device=device).repeat_interleave(sets.shape[2])
    of_question = (queries.shape[1] + num_items) * num_items * 2 * len(model.condition_names)
    size = max(1, GATHERED_LOGITS[device.type] // of_question)
    for start in range(0, len(queries), size):
        items = sets[start : start + size].reshape(-1, num_items)
        first = np.concatenate([queries[start : start + size], items], axis=1)[:, :, None]
        second = items[:, None]
        if model.similarity.joint.symmetric:
            first, second = np.minimum(first, second), np.maximum(first, second)
        distinct, place = _distinct(first * len(embeddings) + second, len(embeddings) ** 2)
        pairs = np.stack(np.divmod(distinct, len(embeddings)), axis=1)
        logits = PairSimilarity(*scorer.logits(embeddings, torch.from_numpy(pairs).to(device)))
        of_queries, of_items = torch.from_numpy(place).to(device).split([queries.shape[1], num_items], dim=1)
        finite = embeddings[torch.from_numpy(items).to(device)].isfinite().flatten(1).all(dim=1)
        yield _Pairs(logits, of_queries, of_items, labels), finite


def _distinct(codes: Int[np.ndarray, "B R n"], num_codes: int) -> tuple[Int[np.ndarray, "P"], Int[np.ndarray, "B R n"]]:
    """Return the distinct ones of some codes, ascending, and the place of each code among them."""
    if num_codes > TABLE:
        distinct, place = np.unique(codes, return_inverse=True)
        return distinct, place.reshape(codes.shape)
    occurs = np.zeros(num_codes, dtype=bool)
    occurs[codes] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]


def _log_odds(pairs: PairSimilarity) -> Float[Tensor, "*P"]:
    """Return the log-odds of pairs from logits of relevance, with the conditions last."""
    similarity, relevance = (logits.flatten(0, -2) for logits in pairs)
    log_odds = PairSimilarity(similarity, torch.log_softmax(relevance, dim=1)).log_odds
    return log_odds.view(pairs.similarity_logits.shape[:-1])


def _relevance_gradient(pairs: PairSimilarity) -> Float[Tensor, "P M"]:
    """Return the gradient of the log-odds of pairs with respect to the logits of relevance."""
    scored = PairSimilarity(pairs.similarity_logits, torch.log_softmax(pairs.log_relevance, dim=1))
    positive = nn.functional.logsigmoid(pairs.similarity_logits) - scored.log_score[:, None]
    negative = nn.functional.logsigmoid(-pairs.similarity_logits) - scored.log_complement[:, None]
    return (scored.log_relevance + positive).exp() - (scored.log_relevance + negative).exp()


def _set_means(
    table: Float[Tensor, "P K"], index: Int[Tensor, "B R n"], weights: Float[Tensor, "r n"], num_sets: int
) -> Float[Tensor, "B R C K"]:
    """Return the means of rows of a table over the items of each set, weighted for each of R queries or for all."""
    shape = (*index.shape[:2], num_sets)
    weights = weights.unflatten(1, (num_sets, -1))
    weights = weights / weights.sum(dim=2, keepdim=True)
    bags = index.unflatten(2, (num_sets, -1))
    of_bags = weights.expand(bags.shape).flatten(0, 2)
    means = nn.functional.embedding_bag(bags.flatten(0, 2), table, mode="sum", per_sample_weights=of_bags)
    return means.unflatten(0, shape)


def _root_mean_square(squares: Float[Tensor, "B n m"]) -> Float[Tensor, "B 1 1"]:
    return squares.mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=torch.finfo(squares.dtype).tiny)


def _fit_conditional_logit(
    features: Float[Tensor, "B n C M"], offset: Float[Tensor, "B n C"], targets: Float[Tensor, "n C"], c: float
) -> Float[Tensor, "B M"]:
    """Approach the minimum of c times the cross-entropy of softmax(offset + features w) plus |w|^2 / 2."""
    weights = features.new_zeros(len(features), features.shape[3])
    for _ in range(NEWTON_STEPS):
        p = torch.softmax(offset + (features @ weights[:, None, :, None]).squeeze(3), dim=2)
        slope = ((targets - p)[..., None] * features).sum(dim=(1, 2))
        centred = features - (p[..., None] * features).sum(dim=2, keepdim=True)
        rows = (centred * p.sqrt()[..., None]).flatten(1, 2)
        weights = weights + _solve(rows, c, c * slope - weights)
    return weights


def _solve(rows: Float[Tensor, "B R M"], c: float, slope: Float[Tensor, "B M"]) -> Float[Tensor, "B M"]:
    """Return (I + c rows' rows)^-1 slope, by the smaller one of the two Gram matrices."""
    num_rows, width = rows.shape[1:]
    identity = torch.eye(min(num_rows, width), dtype=rows.dtype, device=rows.device)
    if width <= num_rows:
        return _cholesky_solve(identity + c * (rows.mT @ rows), slope)
    inner = _cholesky_solve(identity + c * (rows @ rows.mT), (rows @ slope[:, :, None]).squeeze(2))
    return slope - c * (rows.mT @ inner[:, :, None]).squeeze(2)


def _cholesky_solve(matrix: Float[Tensor, "B k k"], right: Float[Tensor, "B k"]) -> Float[Tensor, "B k"]:
    factor = torch.linalg.cholesky_ex(matrix).L  # what is not finite is masked later
    return torch.cholesky_solve(right[:, :, None], factor).squeeze(2)
