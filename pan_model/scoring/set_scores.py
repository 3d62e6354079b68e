"""Scores of embedded queries and sets that no question is fitted for: by pairs, and by the set's mean embedding."""

import numpy as np
import torch
from torch import Tensor, nn

from pan_model.model.pan import Pan
from pan_model.shapes import Float, Int

GATHERED_VALUES = 2**22
"""Values of queries and sets that are gathered at a time."""


def by_pairs(
    model: Pan, embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]
) -> Float[np.ndarray, "B Q C"]:
    """Return the mean score of the query's pairs with the set's items, p or its log-odds, see `Pan.score_pairs`."""
    shape = (*queries.shape, *sets.shape[1:])
    first = np.broadcast_to(queries[:, :, None, None], shape)
    second = np.broadcast_to(sets[:, None], shape)
    return model.score_pairs(embeddings, first.ravel(), second.ravel()).reshape(shape).mean(axis=3)


@torch.inference_mode()
def by_support_mean(
    model: Pan, embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]
) -> Float[np.ndarray, "B Q C"]:
    """Return the log-odds of the query and the set's mean embedding."""
    scorer, device = model.pair_scorer(), embeddings.device
    left = scorer.left(embeddings)
    scores = np.empty((*queries.shape, sets.shape[1]), dtype=torch.zeros(0, dtype=embeddings.dtype).numpy().dtype)
    size = max(1, GATHERED_VALUES // (left.shape[1] * (queries.shape[1] + sets.shape[1])))
    for start in range(0, len(queries), size):
        of_sets = torch.from_numpy(sets[start : start + size]).to(device)
        means = nn.functional.embedding_bag(of_sets.flatten(0, 1), embeddings, mode="mean")
        of_queries = left[torch.from_numpy(queries[start : start + size]).to(device)]
        blocks = scorer.blocks(of_queries, scorer.right(means).unflatten(0, of_sets.shape[:2]))
        scores[start : start + size] = blocks.cpu().numpy()
    return scores
