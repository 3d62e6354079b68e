"""Baselines: scorers without trained layers, which PAN is compared with in every table."""

import numpy as np
import torch

from pan_model.data.splits import Split
from pan_model.model.normalisation import Normalisation, NormalisationConfig
from pan_model.scoring.pan_scorer import features_on
from pan_model.shapes import Float, Int
from pan_model.tasks.task import CosineScoring, SetScorer, Task, score_rows

NORMALISED = "nearest_class_mean_normalised"
"""The name of the baseline on normalised features, which depends on the trial."""


def untrained_baselines(task: Task) -> dict[str, SetScorer]:
    """Return the baselines on features as extracted, which do not depend on the model."""
    features = task.featured.features
    return {"nearest_class_mean": cosine_baseline(task, features), "siamese_distance": siamese_distance(features)}


def cosine_baseline(task: Task, features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Return the task's first baseline on given features: nearest class mean, or for outfits the mean cosine."""
    match task.untrained:
        case CosineScoring.CLASS_MEAN:
            return nearest_class_mean(features)
        case CosineScoring.MEAN_COSINE:
            return mean_cosine(features)


def normalised_baseline(task: Task, split: Split, features: Float[np.ndarray, "n D"]) -> SetScorer:
    """Return the task's first baseline on normalised features of a split's items."""
    return score_rows(cosine_baseline(task, features), task.featured.splits[split])


def normalised_features(task: Task, config: NormalisationConfig) -> Float[np.ndarray, "N D"]:
    """Normalise all features as a model of the task does, fitted on its training items."""
    features = features_on(torch.device("cpu"), task.featured.features)
    items, groups = (torch.from_numpy(indices) for indices in task.normalisation_groups())
    normalisation = Normalisation(config, task.featured.feature_dim)
    normalisation.fit(features, groups, items)
    return normalisation.normalise_all(features).numpy()


def nearest_class_mean(features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Return a scorer by the cosine of the query and the set's mean; for a set of one item, of the two items."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return np.stack(
            [
                unit_rows(features[query]) @ unit_rows(features[members].mean(axis=1)).T
                for query, members in zip(queries, sets, strict=True)
            ]
        )

    return score


def mean_cosine(features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Return a scorer by the mean cosine of the query and the set's items."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return np.stack(
            [
                (unit_rows(features[query]) @ unit_rows(features[members.ravel()]).T)
                .reshape(len(query), *members.shape)
                .mean(axis=2)
                for query, members in zip(queries, sets, strict=True)
            ]
        )

    return score


def siamese_distance(features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Return a scorer by minus the mean Euclidean distance of the query and the set's items."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return np.stack(
            [
                -_distances(features[query], features[members.ravel()]).reshape(len(query), *members.shape).mean(axis=2)
                for query, members in zip(queries, sets, strict=True)
            ]
        )

    return score


def unit_rows(vectors: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    """Scale vectors to unit length; zero vectors stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _distances(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"]) -> Float[np.ndarray, "n m"]:
    x, y = x.astype(np.float64), y.astype(np.float64)  # squares of near neighbours cancel
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0))
