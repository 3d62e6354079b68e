"""Logistic regression fitted to the support of each episode, on the winner's normalised features."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.baselines.untrained import nearest_class_mean
from pan_model.scoring.logistic_regression import fit_logistic
from pan_model.scoring.pan_scorer import features_on
from pan_model.shapes import Float, Int
from pan_model.tasks.task import SetScorer, Task

SETTINGS: tuple[Setting, ...] = tuple({"c": c} for c in (0.3, 1.0, 3.0, 10.0, 100.0))
"""The inverse of the penalty, for features that are scaled to a mean square norm of 1 in each support."""

EPISODES_BATCH_SIZE = 128
"""Episodes that are fitted at a time."""


def fit_logistic_regression(
    _task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"], /
) -> Iterator[SetScorer]:
    """Fit nothing ahead: each question has a classifier of its own."""
    return (logistic_regression(inputs, float(setting["c"])) for setting in settings)


def logistic_regression(features: Float[np.ndarray, "N D"], c: float) -> SetScorer:
    """Return a scorer by a classifier that is fitted to the sets of a question, of which each is a class.

    A set of one item is no class to learn: with such sets the score is the cosine of the two items.

    Args:
        features: The features of all items; only those that are asked for are read.
        c: The inverse of the strength of the penalty.
    """
    values = features_on(torch.device("cpu"), features)
    by_cosine = nearest_class_mean(features)

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        if sets.shape[1] < 2 or sets.shape[2] < 2:
            return by_cosine(queries, sets)
        size = EPISODES_BATCH_SIZE
        pieces = [
            _classify(
                values, torch.from_numpy(queries[start : start + size]), torch.from_numpy(sets[start : start + size]), c
            )
            for start in range(0, len(queries), size)
        ]
        return torch.cat(pieces).numpy()

    return score


def _classify(
    features: Float[Tensor, "N D"], queries: Int[Tensor, "B Q"], sets: Int[Tensor, "B C S"], c: float
) -> Float[Tensor, "B Q C"]:
    num_classes, num_items = sets.shape[1:]
    support = features[sets.flatten(1)]
    scale = support.square().sum(dim=2).mean(dim=1)[:, None, None].clamp(min=torch.finfo(support.dtype).tiny)
    labels = torch.arange(num_classes).repeat_interleave(num_items).expand(len(sets), -1)
    fitted = fit_logistic((support @ support.mT) / scale, labels, num_classes, c)
    of_queries = (features[queries] @ support.mT) / scale
    return (of_queries.double() @ fitted.alphas + fitted.intercepts[:, None]).to(features.dtype)
