"""PAN as a scorer of queries against sets, with a graph or without, by `set_scores` and `fitted_scores`."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pan_model.data.splits import Split
from pan_model.model.pan import Pan, Scoring
from pan_model.scoring.all_pairs import BlockScorer, gallery_scorer, rank_embedded
from pan_model.scoring.fitted_scores import by_fit, can_fit
from pan_model.scoring.pair_mixture import MixtureScale, PairMixture, measure_scale, mixes_pairs, sampled_items
from pan_model.scoring.set_scores import by_pairs, by_support_mean
from pan_model.shapes import Float, Int
from pan_model.tasks.ranking import Ranking
from pan_model.tasks.task import SetScorer, Task

EdgesAround = Callable[[Int[np.ndarray, "Q"], Int[np.ndarray, "C S"]], Int[np.ndarray, "2 L"]]
"""Return the edges, pairs of items, that may be used to compare the queries and sets of a question."""

EMBEDDING_BATCH_SIZE = 4096
"""Items that are embedded at a time; a question to a graph scorer is not split."""


def pan_scorer(model: Pan, task: Task, split: Split, device: torch.device) -> SetScorer:
    """Return a scorer of a split's questions by a trained PAN, which is set to evaluation mode.

    Every item is embedded once; if the encoder uses a graph, once for each question that has edges.

    Args:
        model: The trained model.
        task: The task with the features of all items.
        split: The split of the questions.
        device: The device of the model.
    """
    model.eval()
    with torch.inference_mode():
        features = features_on(device, task.featured.features)
        if model.encoder.uses_graph:
            return graph_scorer(model, model.normalisation.normalise_all(features), edges_around(model, task, split))
        return embedding_scorer(model, embed_all(model, features))


def features_on(device: torch.device, features: Float[np.ndarray, "N D"]) -> torch.Tensor:
    """Return read-only features as a tensor, without a copy on the CPU. Do not write to it."""
    return torch.from_dlpack(features).to(device)


def embed_all(model: Pan, features: Float[Tensor, "N D"]) -> Float[Tensor, "N E"]:
    """Embed all items of a dataset with little memory besides the result."""
    if len(features) <= EMBEDDING_BATCH_SIZE:
        return model.embed(features)
    embeddings = features.new_empty(len(features), model.encoder.embedding_dim)
    pieces = zip(embeddings.split(EMBEDDING_BATCH_SIZE), features.split(EMBEDDING_BATCH_SIZE), strict=True)
    for into, piece in pieces:
        into.copy_(model.embed(piece))
    return embeddings


def edges_around(model: Pan, task: Task, split: Split) -> EdgesAround:
    """Return the edges that a model may use for a question of a split."""
    return partial(task.edges_around, split, context=model.graph_context)


def embedding_scorer(
    model: Pan, embeddings: Float[Tensor, "N E"], scale: MixtureScale | None = None
) -> "EmbeddingScorer":
    """Return a scorer of embedded items; queries and sets are rows of `embeddings`.

    Args:
        model: The trained model.
        embeddings: The embeddings of N items.
        scale: The scale of a mixture for sets of one item; by default it is measured on a sample of the embeddings.
    """
    return EmbeddingScorer(model, embeddings, scale)


class EmbeddingScorer:
    """A `SetScorer` and `GalleryRanker` of embedded items: rows of `embeddings`."""

    def __init__(self, model: Pan, embeddings: Float[Tensor, "N E"], scale: MixtureScale | None = None) -> None:
        self._model = model
        self._embeddings = embeddings
        self._scale = scale

    def __call__(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        """Score every query against every set of S items, in each of B questions."""
        if mixes_pairs(self._model, sets):
            return self._by_mixture(queries, sets[:, :, 0])
        if len(sets) == sets.shape[2] == 1:
            return self._block(self._model.pair_scorer(), queries[0], sets[0, :, 0])[None]
        of_question = self._model, self._embeddings, queries, sets
        if self._model.scoring.is_fitted and can_fit(sets):
            return by_fit(*of_question)
        # A set of one item is its own mean.
        by_mean = self._model.scoring is Scoring.SUPPORT_MEAN and sets.shape[2] > 1
        return (by_support_mean if by_mean else by_pairs)(*of_question)

    def rank(self, queries: Int[np.ndarray, "Q"], gallery: Int[np.ndarray, "G"], k: int) -> Ranking:
        """Return the k best-scored gallery items of each query, see `Ranking`."""
        return rank_embedded(self._model, self._embeddings, queries, gallery, k, self._gallery_scorer)

    @cached_property
    def _gallery_scorer(self) -> BlockScorer:
        if self._scale is not None:
            return PairMixture(self._model, self._scale)
        return gallery_scorer(self._model, self._embeddings)

    def _by_mixture(self, queries: Int[np.ndarray, "B Q"], items: Int[np.ndarray, "B C"]) -> Float[np.ndarray, "B Q C"]:
        scores = np.empty((*queries.shape, items.shape[1]), dtype=np.float32)
        for place, (asked, gallery) in enumerate(zip(queries, items, strict=True)):
            scores[place] = self._block(self._gallery_scorer, asked, gallery)
        return scores

    @torch.inference_mode()
    def _block(
        self, scorer: BlockScorer, queries: Int[np.ndarray, "Q"], items: Int[np.ndarray, "C"]
    ) -> Float[np.ndarray, "Q C"]:
        rows, columns = (torch.tensor(index, device=self._embeddings.device) for index in (queries, items))
        left, right = scorer.left(self._embeddings[rows]), scorer.right(self._embeddings[columns])
        return scorer.block(left, right).cpu().numpy()


def graph_scorer(model: Pan, inputs: Float[Tensor, "N D"], edges_around: EdgesAround) -> SetScorer:
    """Return a scorer by an encoder that uses a graph. Items are embedded with the edges of their question only.

    Args:
        model: The trained model.
        inputs: The normalised features of N items.
        edges_around: Returns the edges of a question. Questions without edges share embeddings.
    """
    unlinked = _Unlinked(model, inputs)

    @torch.inference_mode()
    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        model.eval()
        scale = unlinked.scale if mixes_pairs(model, sets) else None
        edges = [edges_around(candidates, members) for candidates, members in zip(queries, sets, strict=True)]
        linked = np.array([question_edges.shape[1] > 0 for question_edges in edges], dtype=bool)
        scores = np.empty((*queries.shape, sets.shape[1]), dtype=np.float32)
        if not linked.all():
            scores[~linked] = unlinked.score(queries[~linked], sets[~linked])
        if linked.any():
            subgraphs = [_subgraph(queries[place], sets[place], edges[place]) for place in np.flatnonzero(linked)]
            scores[linked] = np.concatenate(
                [_score_subgraphs(model, inputs, piece, scale) for piece in _pieces(subgraphs)]
            )
        return scores

    return score


class _Unlinked:
    """Scores questions without edges. Each item is embedded when it is first needed."""

    def __init__(self, model: Pan, inputs: Float[Tensor, "N D"]) -> None:
        self._model = model
        self._inputs = inputs
        self._embeddings = inputs.new_zeros(len(inputs), model.encoder.embedding_dim)
        self._known = np.zeros(len(inputs), dtype=bool)

    def score(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        asked = np.unique(np.concatenate([queries.ravel(), sets.ravel()]))
        new = asked[~self._known[asked]]
        for start in range(0, len(new), EMBEDDING_BATCH_SIZE):
            items = torch.from_numpy(new[start : start + EMBEDDING_BATCH_SIZE]).to(self._inputs.device)
            self._embeddings[items] = self._model.encode(self._inputs[items])
        self._known[new] = True
        scale = self.scale if mixes_pairs(self._model, sets) else None
        return embedding_scorer(self._model, self._embeddings, scale)(queries, sets)

    @cached_property
    def scale(self) -> MixtureScale:
        """The scale of a mixture for sets of one item, measured without edges on a sample of all items."""
        items = torch.from_numpy(sampled_items(len(self._inputs))).to(self._inputs.device)
        return measure_scale(self._model, self._model.encode(self._inputs[items]))


class _Subgraph(NamedTuple):
    """A question's items, and its edges, queries and sets as positions among them."""

    items: Int[np.ndarray, "n"]
    edges: Int[np.ndarray, "2 L"]
    queries: Int[np.ndarray, "Q"]
    sets: Int[np.ndarray, "C S"]


def _subgraph(queries: Int[np.ndarray, "Q"], sets: Int[np.ndarray, "C S"], edges: Int[np.ndarray, "2 L"]) -> _Subgraph:
    items = np.unique(np.concatenate([queries, sets.ravel(), edges.ravel()]))
    return _Subgraph(items, *(np.searchsorted(items, indices) for indices in (edges, queries, sets)))


def _pieces(subgraphs: list[_Subgraph]) -> Iterator[list[_Subgraph]]:
    """Split questions into batches whose items can be embedded at a time."""
    sizes = np.cumsum([len(subgraph.items) for subgraph in subgraphs]) // EMBEDDING_BATCH_SIZE
    for number in np.unique(sizes):
        yield [subgraphs[place] for place in np.flatnonzero(sizes == number)]


def _score_subgraphs(
    model: Pan, inputs: Float[Tensor, "N D"], subgraphs: list[_Subgraph], scale: MixtureScale | None
) -> Float[np.ndarray, "B Q C"]:
    """Embed the graphs of several questions as one graph without edges between them, and score."""
    sizes = [len(subgraph.items) for subgraph in subgraphs]
    first = np.cumsum([0, *sizes[:-1]])
    items, edges = (
        torch.from_numpy(indices).to(inputs.device)
        for indices in (
            np.concatenate([subgraph.items for subgraph in subgraphs]),
            np.concatenate([subgraph.edges + at for subgraph, at in zip(subgraphs, first, strict=True)], axis=1),
        )
    )
    scorer = embedding_scorer(model, model.encode(inputs[items], edges), scale)
    queries = np.stack([subgraph.queries + at for subgraph, at in zip(subgraphs, first, strict=True)])
    sets = np.stack([subgraph.sets + at for subgraph, at in zip(subgraphs, first, strict=True)])
    return scorer(queries, sets)
