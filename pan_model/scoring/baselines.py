"""Untrained scorers that stand beside PAN in every table: a few lines of numpy that a trained model has to beat."""

import numpy as np
import torch

from pan_model.data.splits import Split
from pan_model.model.normalisation import Normalisation, NormalisationConfig
from pan_model.scoring.pan_scorer import features_on
from pan_model.shapes import Float, Int
from pan_model.tasks.task import CosineScoring, SetScorer, Task, score_rows

NORMALISED = "nearest_class_mean_normalised"
"""The one baseline that differs from trial to trial."""


def untrained_baselines(task: Task) -> dict[str, SetScorer]:
    """The baselines that are the same for all models of a task, on features as extracted."""
    features = task.featured.features
    return {"nearest_class_mean": cosine_baseline(task, features), "siamese_distance": siamese_distance(features)}


def cosine_baseline(task: Task, features: Float[np.ndarray, "N D"]) -> SetScorer:
    """The task's first baseline on some features of all items: nearest class mean, or for outfits the mean cosine."""
    match task.untrained:
        case CosineScoring.CLASS_MEAN:
            return nearest_class_mean(features)
        case CosineScoring.MEAN_COSINE:
            return mean_cosine(features)


def normalised_baseline(task: Task, split: Split, features: Float[np.ndarray, "n D"]) -> SetScorer:
    """The same for a split's items alone, on their normalised features."""
    return score_rows(cosine_baseline(task, features), task.featured.splits[split])


def normalised_features(task: Task, config: NormalisationConfig) -> Float[np.ndarray, "N D"]:
    """Normalise all features as a model of the task would, with what its training items say."""
    features = features_on(torch.device("cpu"), task.featured.features)
    items, groups = (torch.from_numpy(part) for part in task.normalisation_groups())
    normalisation = Normalisation(config, task.featured.feature_dim)
    normalisation.fit(features, groups, items)
    return normalisation.normalise_all(features).numpy()


def nearest_class_mean(features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Cosine of the query and the set's mean; with sets of one item, of the query and its neighbour."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return np.stack(
            [
                _unit(features[query]) @ _unit(features[members].mean(axis=1)).T
                for query, members in zip(queries, sets, strict=True)
            ]
        )

    return score


def mean_cosine(features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Mean cosine of the query and the set's items."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return np.stack(
            [
                (_unit(features[query]) @ _unit(features[members.ravel()]).T)
                .reshape(len(query), *members.shape)
                .mean(axis=2)
                for query, members in zip(queries, sets, strict=True)
            ]
        )

    return score


def siamese_distance(features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Minus the mean Euclidean distance of the query and the set's items."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return np.stack(
            [
                -_distances(features[query], features[members.ravel()]).reshape(len(query), *members.shape).mean(axis=2)
                for query, members in zip(queries, sets, strict=True)
            ]
        )

    return score


def _unit(vectors: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _distances(one: Float[np.ndarray, "n D"], other: Float[np.ndarray, "m D"]) -> Float[np.ndarray, "n m"]:
    one, other = one.astype(np.float64), other.astype(np.float64)  # squares of near neighbours cancel
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0))
