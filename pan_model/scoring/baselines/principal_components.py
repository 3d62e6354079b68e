"""Standardised features along their leading principal components: the inputs of the baselines that are trained."""

import numpy as np
import torch
from torch import Tensor

from pan_model.scoring.pan_scorer import features_on
from pan_model.shapes import Float, Int


def principal_components(
    features: Float[np.ndarray, "N D"], training_items: Int[np.ndarray, "n"], num_components: int
) -> Float[Tensor, "N k"]:
    """Standardise features by the training items, and project them on these items' principal components.

    Args:
        features: The features of all items.
        training_items: The items that mean, deviation and components are computed from.
        num_components: The most components to keep; their number is at most D.

    Returns:
        The projections, the component of the largest variance first. Constant features are left out.
    """
    values = features_on(torch.device("cpu"), features)
    training = values[torch.from_numpy(training_items)].double()
    deviation, mean = torch.std_mean(training, dim=0, correction=0)
    scale = torch.where(deviation > 0, 1 / deviation, 0.0)
    training = (training - mean) * scale
    _, directions = torch.linalg.eigh(training.T @ training / len(training))
    leading = directions.flip(1)[:, :num_components] * scale[:, None]
    return values @ leading.to(values.dtype) - (mean @ leading).to(values.dtype)
