"""PAN as a scorer of queries against sets: by pairs, or by the set's mean embedding."""

import numpy as np
import torch
from torch import Tensor

from pan_model.data.featured import FeaturedItems
from pan_model.model import Pan
from pan_model.scoring import Scoring, SetScorer, features_on
from pan_model.shapes import Float, Int


def pan_scorer(model: Pan, featured: FeaturedItems, device: torch.device) -> SetScorer:
    """Score by a trained PAN, in the way its configuration says. Embeds every item once, in evaluation mode."""
    model.eval()
    with torch.inference_mode():
        return embedding_scorer(model, model.embed(features_on(device, featured.features)))


def embedding_scorer(model: Pan, embeddings: Float[Tensor, "N E"]) -> SetScorer:
    """Score items that are embedded already, in evaluation mode; queries and sets are rows of `embeddings`."""
    of_sets = _by_support_mean if model.scoring is Scoring.SUPPORT_MEAN else _by_pairs

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return of_sets(model, embeddings, queries, sets)

    return score


def _by_pairs(
    model: Pan, embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]
) -> Float[np.ndarray, "B Q C"]:
    shape = (*queries.shape, *sets.shape[1:])
    first = np.broadcast_to(queries[:, :, None, None], shape)
    second = np.broadcast_to(sets[:, None], shape)
    return model.score_pairs(embeddings, first.ravel(), second.ravel()).reshape(shape).mean(axis=3)


@torch.inference_mode()
def _by_support_mean(
    model: Pan, embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]
) -> Float[np.ndarray, "B Q C"]:
    if sets.shape[2] == 1:  # a set of one item is its own mean
        return _by_pairs(model, embeddings, queries, sets)
    members, place = np.unique(sets.reshape(-1, sets.shape[2]), axis=0, return_inverse=True)
    means = embeddings[torch.from_numpy(members).to(embeddings.device)].mean(dim=1)
    shape = (*queries.shape, sets.shape[1])
    first = np.broadcast_to(queries[:, :, None], shape)
    second = np.broadcast_to(len(embeddings) + place.reshape(sets.shape[:2])[:, None], shape)
    return model.score_pairs(torch.cat([embeddings, means]), first.ravel(), second.ravel()).reshape(shape)
