"""Scores of queries and sets that are fitted to the question: its sets are classes, their items labelled examples.

The rules are those of `Scoring` whose `is_fitted` holds. They need two sets with two items each; see `can_fit`. What
they fit is small, and is fitted for all questions at a time. A question with an embedding that is not finite has scores
of NaN.

Shape letters: B questions, Q queries, C sets of S items, n = C S items of all sets, E embedding.
"""

import numpy as np
import torch
from torch import Tensor, nn

from pan_model.model.pan import Pan, Scoring
from pan_model.scoring.condition_scores import by_adapted_relevance, by_condition_classifier
from pan_model.scoring.logistic_regression import fit_logistic
from pan_model.scoring.set_scores import GATHERED_VALUES, by_support_mean
from pan_model.shapes import Float, Int


def can_fit(sets: Int[np.ndarray, "B C S"]) -> bool:
    """Return whether there is something to tell apart: at least two sets, and two items in each."""
    return sets.shape[1] > 1 and sets.shape[2] > 1


def by_fit(
    model: Pan, embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]
) -> Float[np.ndarray, "B Q C"]:
    """Return the scores by the model's rule, which must be a fitted one."""
    question = embeddings, queries, sets
    match model.scoring:
        case Scoring.CONDITION_CLASSIFIER:
            return by_condition_classifier(model, *question)
        case Scoring.ADAPTED_RELEVANCE:
            return by_adapted_relevance(model, *question)
        case Scoring.MIXTURE:
            of_embedding = _standardised(by_embedding_classifier(*question, c=model.classifier_c))
            of_mean = _standardised(by_support_mean(model, *question))
            return model.mixture_weight * of_embedding + (1 - model.mixture_weight) * of_mean
        case _:
            return by_embedding_classifier(*question, c=model.classifier_c)


@torch.inference_mode()
def by_embedding_classifier(
    embeddings: Float[Tensor, "N E"], queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"], *, c: float
) -> Float[np.ndarray, "B Q C"]:
    """Return the scores of a logistic regression on embeddings of length 1, fitted to the items of each question.

    Embeddings are moved to the mean of the question's items, and scaled to a mean square distance of 1 from it, so that
    c does not depend on how narrow a cone they lie in.
    """
    num_sets, num_items = sets.shape[1:]
    unit = nn.functional.normalize(embeddings, dim=1)
    of_queries, of_items = (
        torch.from_numpy(index).to(embeddings.device)
        for index in (queries, sets.reshape(len(sets), num_sets * num_items))
    )
    if len(sets) == 0:
        return np.zeros((*queries.shape, num_sets), dtype=np.float32)
    size = max(1, GATHERED_VALUES // (unit.shape[1] * (queries.shape[1] + of_items.shape[1])))
    grams: list[Tensor] = []
    products: list[Tensor] = []
    for asked, items in zip(of_queries.split(size), of_items.split(size), strict=True):
        x = unit[items]
        mean = x.mean(dim=1, keepdim=True)
        x = x - mean
        grams.append(x @ x.mT)
        products.append((unit[asked] - mean) @ x.mT)
    gram, product = torch.cat(grams).double(), torch.cat(products).double()
    scale = gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=torch.finfo(unit.dtype).tiny)[:, None, None]
    labels = torch.arange(num_sets, device=gram.device).repeat_interleave(num_items)
    alphas, intercepts = fit_logistic(gram / scale, labels.expand(len(gram), -1), num_sets, c)
    scores = torch.baddbmm(intercepts[:, None], product / scale, alphas)
    return scores.to(unit.dtype).cpu().numpy()


def _standardised(scores: Float[np.ndarray, "B Q C"]) -> Float[np.ndarray, "B Q C"]:
    """Centre the scores of each query, and scale those of each question to variance 1."""
    centred = scores - scores.mean(axis=2, keepdims=True)
    deviation = centred.std(axis=(1, 2), keepdims=True)
    return centred / np.maximum(deviation, np.finfo(scores.dtype).tiny)
