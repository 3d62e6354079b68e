"""Scorers: how well a query goes with a set of items. PAN and the baselines answer the same questions through them."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from pan_model.data.featured import FeaturedItems
from pan_model.model import Pan
from pan_model.shapes import Float, Int

PairScorer = Callable[[Int[np.ndarray, "P"], Int[np.ndarray, "P"]], Float[np.ndarray, "P"]]
"""Scores P pairs of item indices; higher is more similar."""


@runtime_checkable
class SetScorer(Protocol):
    """Scores queries against sets of items, higher is better. A set of one item makes it a scorer of pairs."""

    def __call__(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        """Score, in each of B questions, every query against every set of S items."""
        ...


def mean_pair_score(score_pairs: PairScorer) -> SetScorer:
    """Score a set by the mean of the pair scores of the query and the set's items (the paper's protocol)."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        shape = (*queries.shape, *sets.shape[1:])
        first = np.broadcast_to(queries[:, :, None, None], shape)
        second = np.broadcast_to(sets[:, None], shape)
        return score_pairs(first.ravel(), second.ravel()).reshape(shape).mean(axis=3)

    return score


def pan_scorer(model: Pan, featured: FeaturedItems, device: torch.device) -> SetScorer:
    """Score by a trained PAN: the mean of the pair scores p. Embeds every item once, in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        embeddings = model.embed(features_on(device, featured.features))
    return mean_pair_score(lambda index_1, index_2: model.score_pairs(embeddings, index_1, index_2))


def features_on(device: torch.device, features: Float[np.ndarray, "N D"]) -> torch.Tensor:
    """View shared features as a tensor, without a copy on the CPU; never write to it."""
    return torch.from_dlpack(features).to(device)
