"""First weights: a model that scores pairs by their distance before its first step, as good as an untrained metric."""

from typing import NamedTuple

import torch
from torch import Tensor

from pan_model.model.similarity import ConditionSimilarity, Joint
from pan_model.shapes import Bool, Float

SPREAD = 0.1
"""How far the conditions' first weights differ from one another, as a share of their size: equals would stay equal."""

IRRELEVANT = -10.0
"""The relevance logit at which labelled conditions start beside free ones at 0: their part of a score is e^-10."""


class Calibration(NamedTuple):
    """The log-odds that a pair is of one class: slope * closeness + offset."""

    slope: float
    offset: float


def closeness(
    similarity: ConditionSimilarity, h1: Float[Tensor, "P E"], h2: Float[Tensor, "P E"]
) -> Float[Tensor, "P"]:
    """How close P pairs are: the sum of a product joint (E times the cosine), minus the sum of an absdiff (L1)."""
    sign = 1 if similarity.joint is Joint.PRODUCT else -1
    return sign * similarity.represent(h1, h2).sum(dim=1)


def calibrate(values: Float[Tensor, "P"], same: Bool[Tensor, "P"]) -> Calibration:
    """Linear discriminant of one variable for two equally likely classes of equal variance.

    slope = (m1 - m0) / v, offset = -slope (m1 + m0) / 2, v the mean variance of the two. Where they do not differ, or
    do not vary, the slope is 1.

    >>> calibrate(torch.tensor([1.0, 3.0, -1.0, -3.0]), torch.tensor([True, True, False, False]))
    Calibration(slope=4.0, offset=-0.0)
    """
    values = values.double()
    one, other = values[same], values[~same]
    gap = float(one.mean() - other.mean())
    variance = float((one.var(correction=0) + other.var(correction=0)) / 2)
    slope = gap / variance if gap > 0 and variance > 0 else 1.0
    return Calibration(slope, -slope * float(one.mean() + other.mean()) / 2)


@torch.no_grad()
def start_as_distance(
    similarity: ConditionSimilarity,
    h1: Float[Tensor, "P E"],
    h2: Float[Tensor, "P E"],
    same: Bool[Tensor, "P"],
    *,
    num_labelled: int = 0,
) -> None:
    """Make every free condition the calibrated closeness of P training pairs, give or take 10%, and all as relevant.

    Labelled conditions, the first ones, have something else to say: they keep their random weights and start as
    irrelevant, unless there are no others. Takes random numbers from torch's generator.
    """
    slope, offset = calibrate(closeness(similarity, h1, h2), same)
    size = slope if similarity.joint is Joint.PRODUCT else -slope
    weight = similarity.similarity.weight
    free = slice(num_labelled if num_labelled < len(weight) else 0, None)
    weight[free] = size * (1 + SPREAD * torch.randn(weight[free].shape)).to(weight.device)
    similarity.similarity.bias[free] = offset
    similarity.relevance.weight.mul_(SPREAD)
    similarity.relevance.bias[: free.start] = IRRELEVANT
