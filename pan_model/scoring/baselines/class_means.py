"""Nearest class means in a space that the training items define: centred_l2 (SimpleShot) and lda (whitened features).

Both leave nothing to training. With sets of one item they are nearest neighbours; lda is then whitened neighbours.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from pan_model.model.normalisation import Normalisation, NormalisationConfig, NormalisationKind, signed_power
from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.baselines.untrained import mean_cosine, nearest_class_mean, unit_rows
from pan_model.scoring.pan_scorer import features_on
from pan_model.shapes import Float, Int
from pan_model.tasks.task import CosineScoring, SetScorer, Task

LDA_SETTINGS: tuple[Setting, ...] = tuple(
    {"feature_power": power, "shrinkage": shrinkage, "unit_length": unit_length}
    for power in (1.0, 0.5)
    for shrinkage in (0.1, 0.3, 0.6, 0.9)
    for unit_length in (True, False)
)
"""Power of the features, shrinkage of the covariance, and whether whitened features are scaled to unit length."""

ROWS_BATCH_SIZE = 4096
"""Rows of features that are rotated at a time."""


def fit_centred_l2(task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"], /) -> Iterator[SetScorer]:
    """Centre features on the mean of the training items, scale them to unit length, and take the nearest class mean.

    This is CL2N of SimpleShot (Wang et al., 2019). For outfits the score is the mean cosine with the set's items.
    """
    features = unit_rows(inputs - inputs[task.training_items].mean(axis=0))
    by_mean = task.untrained is CosineScoring.CLASS_MEAN
    return ((nearest_mean_by_distance if by_mean else mean_cosine)(features) for _ in settings)


def fit_lda(task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"], /) -> Iterator[SetScorer]:
    """Whiten features by the covariance within the training classes, and take the nearest class mean.

    Without `unit_length` this is linear discriminant analysis with equal priors, whose class means are those of the
    question's sets: for Gaussian classes with a common covariance it is optimal. With it, whitened features are scaled
    to unit length, as PAN's normalisation does, and means and queries are compared by the cosine.
    """
    rotated: dict[float, _Rotated] = {}
    for setting in settings:
        power = float(setting["feature_power"])
        if power not in rotated:
            rotated = {power: _Rotated(task, inputs, power)}  # of one power at a time, to bound memory
        whitened = rotated[power].whitened(float(setting["shrinkage"]))
        yield nearest_class_mean(unit_rows(whitened)) if setting["unit_length"] else nearest_mean_by_distance(whitened)


def whitened_features(
    task: Task, inputs: Float[np.ndarray, "N D"], *, feature_power: float, shrinkage: float
) -> Float[np.ndarray, "N D"]:
    """Return features whose covariance within the training classes is isotropic, up to shrinkage and a rotation."""
    return _Rotated(task, inputs, feature_power).whitened(shrinkage)


def nearest_mean_by_distance(features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Return a scorer by minus the squared Euclidean distance of the query and the set's mean."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return np.stack(
            [
                _minus_squared_distances(features[query], features[members].mean(axis=1))
                for query, members in zip(queries, sets, strict=True)
            ]
        )

    return score


def _minus_squared_distances(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "m D"]) -> Float[np.ndarray, "n m"]:
    return 2 * x @ y.T - (x**2).sum(axis=1)[:, None] - (y**2).sum(axis=1)


class _Rotated:
    """Features to a power, centred, along the eigenvectors of their covariance within the training classes.

    Whitening with any shrinkage is then a factor for each column. That it leaves out the rotation back changes neither
    a distance nor a cosine.
    """

    def __init__(self, task: Task, inputs: Float[np.ndarray, "N D"], power: float) -> None:
        features = features_on(torch.device("cpu"), inputs)
        items, groups = (torch.from_numpy(indices) for indices in task.normalisation_groups())
        kind = NormalisationKind.WHITEN
        config = NormalisationConfig(normalisation=kind, whitening_shrinkage=1.0, feature_power=power)
        mean, self._values, directions = Normalisation(config, features.shape[1]).spectrum_within(
            features, groups, items
        )
        self._features = torch.empty_like(features)
        pieces = zip(self._features.split(ROWS_BATCH_SIZE), features.split(ROWS_BATCH_SIZE), strict=True)
        for into, piece in pieces:
            into.copy_((signed_power(piece, power) - mean.to(piece.dtype)) @ directions.to(piece.dtype))

    def whitened(self, shrinkage: float) -> Float[np.ndarray, "N D"]:
        values = self._values.clamp(min=0)
        shrunk = (1 - shrinkage) * values + shrinkage * values.mean()
        scales = shrunk.clamp(min=torch.finfo(shrunk.dtype).tiny).rsqrt() if shrunk.any() else torch.ones_like(shrunk)
        return (self._features * scales.to(self._features.dtype)).numpy()
