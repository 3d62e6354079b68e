"""Initial weights of kind distance: an untrained model scores pairs by their distance, like a fixed metric."""

from typing import NamedTuple

import torch
from torch import Tensor

from pan_model.model.similarity import ConditionSimilarity, Joint
from pan_model.shapes import Bool, Float

SPREAD = 0.1
"""The relative spread of the conditions' initial weights; identical conditions would stay identical."""

IRRELEVANT = -10.0
"""The initial relevance logit of labelled conditions; that of free ones is 0. Their share of a score is e^-10."""


class Calibration(NamedTuple):
    """The log-odds that a pair is of one class: slope * closeness + offset."""

    slope: float
    offset: float


def closeness(
    similarity: ConditionSimilarity, h1: Float[Tensor, "P E"], h2: Float[Tensor, "P E"]
) -> Float[Tensor, "P"]:
    """Return the closeness of P pairs: the sum of a product joint (E times the cosine), minus the sum of absdiff."""
    sign = 1 if similarity.joint is Joint.PRODUCT else -1
    return sign * similarity.represent(h1, h2).sum(dim=1)


def calibrate(values: Float[Tensor, "P"], same: Bool[Tensor, "P"]) -> Calibration:
    """Fit the linear discriminant of one variable for two equally likely classes of equal variance.

    slope = (m1 - m0) / v, offset = -slope (m1 + m0) / 2, v the mean variance of the two. The slope is 1 if m1 <= m0
    or v = 0.

    >>> calibrate(torch.tensor([1.0, 3.0, -1.0, -3.0]), torch.tensor([True, True, False, False]))
    Calibration(slope=4.0, offset=-0.0)
    """
    values = values.double()
    positives, negatives = values[same], values[~same]
    gap = float(positives.mean() - negatives.mean())
    variance = float((positives.var(correction=0) + negatives.var(correction=0)) / 2)
    slope = gap / variance if gap > 0 and variance > 0 else 1.0
    return Calibration(slope, -slope * float(positives.mean() + negatives.mean()) / 2)


@torch.no_grad()
def start_as_distance(
    similarity: ConditionSimilarity,
    h1: Float[Tensor, "P E"],
    h2: Float[Tensor, "P E"],
    same: Bool[Tensor, "P"],
    *,
    num_labelled: int = 0,
) -> None:
    """Initialise the conditions without labels so that PAN ranks pairs by their distance before it is trained.

    Each of them starts as the closeness of a pair, scaled to predict `same`, with weights that vary by 10%. All have
    the same relevance. Conditions with labels keep their random weights and start with a relevance near 0, unless all
    conditions have labels.

    Draws from torch's generator.

    Args:
        similarity: The module to initialise, in place.
        h1: The embeddings of the first items of P training pairs.
        h2: The embeddings of the second items.
        same: Whether the items of a pair are of the same class or outfit.
        num_labelled: K, the number of labelled conditions, which come first.
    """
    slope, offset = calibrate(closeness(similarity, h1, h2), same)
    size = slope if similarity.joint is Joint.PRODUCT else -slope
    weight = similarity.similarity.weight
    free = slice(num_labelled if num_labelled < len(weight) else 0, None)
    weight[free] = size * (1 + SPREAD * torch.randn(weight[free].shape)).to(weight.device)
    similarity.similarity.bias[free] = offset
    similarity.relevance.weight.mul_(SPREAD)
    similarity.relevance.bias[: free.start] = IRRELEVANT
