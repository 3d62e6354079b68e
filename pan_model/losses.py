"""PAN's loss: L = BCE(p, y) + lambda * the masked mean of BCE(s_m, a_m) (PAN, section 3)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.shapes import Bool, Float
from pan_model.similarity import PairSimilarity

MASK_EPSILON = 1e-6
"""Keeps a pair without any certain condition at a loss of 0 (reference code)."""


def pair_loss(pairs: PairSimilarity, same: Bool[Tensor, "P"]) -> Float[Tensor, ""]:
    """Mean binary cross-entropy of the pairs' scores p against y, same class or outfit.

    >>> pairs = PairSimilarity(torch.zeros(1, 1), torch.zeros(1, 1))
    >>> round(pair_loss(pairs, torch.tensor([True])).item(), 4)
    0.6931
    """
    return -torch.where(same, pairs.log_score, pairs.log_complement).mean()


def condition_loss(
    similarity_logits: Float[Tensor, "P K"], targets: Bool[Tensor, "P K"], certain: Bool[Tensor, "P K"]
) -> Float[Tensor, ""]:
    """Mean over pairs of sum_m c_m BCE(s_m, a_m) / (sum_m c_m + 1e-6), c_m = both images' attribute m is certain.

    >>> logits, targets = torch.tensor([[0.0, 9.0]]), torch.tensor([[True, False]])
    >>> round(condition_loss(logits, targets, torch.tensor([[True, False]])).item(), 4)
    0.6931
    """
    mask = certain.to(similarity_logits.dtype)
    loss = F.binary_cross_entropy_with_logits(
        similarity_logits, targets.to(similarity_logits.dtype), weight=mask, reduction="none"
    )
    return (loss.sum(dim=1) / (mask.sum(dim=1) + MASK_EPSILON)).mean()
