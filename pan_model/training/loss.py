"""The losses of pairs and of their conditions (PAN, section 3), and which pairs they weight or choose.

`pair_loss.py` computes the same losses and their gradients in one pass.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.model.similarity import PairSimilarity
from pan_model.shapes import Bool, Float, Int

MASK_EPSILON = 1e-6
"""Keeps the loss of a pair without any certain condition at 0 (reference code)."""


def pair_losses(pairs: PairSimilarity, same: Bool[Tensor, "P"]) -> Float[Tensor, "P"]:
    """Return the binary cross-entropy of each pair's score p against y, same class or outfit.

    >>> pairs = PairSimilarity(torch.zeros(1, 1), torch.zeros(1, 1))
    >>> [round(loss, 4) for loss in pair_losses(pairs, torch.tensor([True])).tolist()]
    [0.6931]
    """
    return -torch.where(same, pairs.log_score, pairs.log_complement)


def pair_weights(same: Bool[Tensor, "P"], positive_weight: float) -> Float[Tensor, "P"]:
    """Return pair weights that sum to 1: positives share `positive_weight`, negatives share the rest.

    Each pair has weight 1 / P if all pairs are positives, or all negatives; also with equal numbers of both and
    positive_weight 0.5, the paper's mean.

    >>> pair_weights(torch.tensor([True, False, False]), 0.5).tolist()
    [0.5, 0.25, 0.25]
    """
    # The counts stay on the device, in double precision.
    num_positives = same.sum(dtype=torch.float64)
    num_negatives = len(same) - num_positives
    weights = torch.where(same, positive_weight / num_positives, (1 - positive_weight) / num_negatives)
    return torch.where(num_positives * num_negatives > 0, weights, 1 / len(same)).float()


def hardest_pairs(losses: Float[Tensor, "P"], same: Bool[Tensor, "P"], share: float) -> Int[Tensor, "H"]:
    """Return the positions, ascending, of the hardest share of positives and of negatives, at least one of each.

    >>> hardest_pairs(torch.tensor([1.0, 2.0, 5.0, 4.0]), torch.tensor([True, True, False, False]), 0.5).tolist()
    [1, 2]
    """
    chosen: list[Tensor] = []
    for places in (same.nonzero()[:, 0], (~same).nonzero()[:, 0]):
        count = min(len(places), max(1, round(share * len(places))))
        chosen.append(places[losses[places].topk(count).indices])
    return torch.cat(chosen).sort().values


def condition_loss(
    similarity_logits: Float[Tensor, "P K"], targets: Bool[Tensor, "P K"], certain: Bool[Tensor, "P K"]
) -> Float[Tensor, ""]:
    """Return the mean over pairs of sum_m c_m BCE(s_m, a_m) / (sum_m c_m + 1e-6).

    c_m = 1 if attribute m is certain for both images, else 0.

    >>> logits, targets = torch.tensor([[0.0, 9.0]]), torch.tensor([[True, False]])
    >>> round(condition_loss(logits, targets, torch.tensor([[True, False]])).item(), 4)
    0.6931
    """
    mask = certain.to(similarity_logits.dtype)
    loss = F.binary_cross_entropy_with_logits(
        similarity_logits, targets.to(similarity_logits.dtype), weight=mask, reduction="none"
    )
    return (loss.sum(dim=1) / (mask.sum(dim=1) + MASK_EPSILON)).mean()
