"""The condition similarity module: s_m under each condition, its relevance r_m, the pair's score p (PAN, section 3)."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pan_model.errors import UserError
from pan_model.model.precision import Precision
from pan_model.shapes import Float

DROPPED = -1e4
"""The relevance logit of a dropped condition. It is finite, and its softmax is exactly 0."""


class Joint(StrEnum):
    """How two embeddings form the joint representation of the pair; only concat depends on their order."""

    ABSDIFF = "absdiff"
    PRODUCT = "product"
    CONCAT = "concat"

    @property
    def symmetric(self) -> bool:
        """Whether j(h1, h2) equals j(h2, h1)."""
        return self is not Joint.CONCAT


def joint_representation(h1: Float[Tensor, "P E"], h2: Float[Tensor, "P E"], joint: Joint) -> Float[Tensor, "P J"]:
    """Return the joint representation: |h1 - h2|, the product of the L2-normalised embeddings, or [h1, h2].

    Shapes: (P, E) twice -> (P, E), or (P, 2E) for concat.

    >>> joint_representation(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]]), Joint.ABSDIFF).tolist()
    [[2.0, 1.0]]
    """
    match joint:
        case Joint.ABSDIFF:
            return (h1 - h2).abs()
        case Joint.PRODUCT:
            return F.normalize(h1, dim=1) * F.normalize(h2, dim=1)
        case Joint.CONCAT:
            return torch.cat([h1, h2], dim=1)


class PairSimilarity(NamedTuple):
    """The outputs for P pairs, as logarithms so that nothing saturates."""

    similarity_logits: Float[Tensor, "P M"]
    log_relevance: Float[Tensor, "P M"]

    @property
    def similarity(self) -> Float[Tensor, "P M"]:
        """s = sigmoid(W1 j + b1), the similarity under each condition, in [0, 1]."""
        return torch.sigmoid(self.similarity_logits)

    @property
    def relevance(self) -> Float[Tensor, "P M"]:
        """r = softmax(W2 j + b2) over the conditions."""
        return self.log_relevance.exp()

    @property
    def log_score(self) -> Float[Tensor, "P"]:
        """log p, with p = sum_m r_m s_m."""
        return torch.logsumexp(self.log_relevance + F.logsigmoid(self.similarity_logits), dim=1)

    @property
    def log_complement(self) -> Float[Tensor, "P"]:
        """log (1 - p) = log sum_m r_m (1 - s_m)."""
        return torch.logsumexp(self.log_relevance + F.logsigmoid(-self.similarity_logits), dim=1)

    @property
    def log_odds(self) -> Float[Tensor, "P"]:
        """log p / (1 - p)."""
        return self.log_score - self.log_complement

    @property
    def score(self) -> Float[Tensor, "P"]:
        """The pair's score p in [0, 1]."""
        return (self.relevance * self.similarity).sum(dim=1).clamp(max=1)


class FirstWeights(StrEnum):
    """Initial weights. xavier: random, as in the reference code; distance: the score is a function of the distance."""

    XAVIER = "xavier"
    DISTANCE = "distance"


@dataclass(frozen=True, kw_only=True)
class SimilarityConfig:
    """The condition similarity module.

    Attributes:
        joint: The joint representation of a pair.
        first_weights: The kind of initial weights.
        dropout: The share of the joint representation's entries that is dropped in training.
        condition_dropout: The share of a pair's conditions that is dropped in training.
        precision: The type of the operands of products over pairs; None is float32. The study sets it.
    """

    joint: Joint = Joint.ABSDIFF
    first_weights: FirstWeights = FirstWeights.XAVIER
    dropout: float = 0.0
    condition_dropout: float = 0.0
    precision: Precision | None = None

    def __post_init__(self) -> None:
        for name in ("dropout", "condition_dropout"):
            if not (math.isfinite(getattr(self, name)) and 0 <= getattr(self, name) < 1):
                raise UserError(f"{name} must lie in [0, 1), got {getattr(self, name)}.")
        if self.first_weights is FirstWeights.DISTANCE and not self.joint.symmetric:
            raise UserError("first_weights distance needs a symmetric joint, absdiff or product, got concat.")


class ConditionSimilarity(nn.Module):
    """s = sigmoid(W1 j + b1), r = softmax(W2 j + b2), p = sum_m r_m s_m for the joint representation j of a pair.

    With num_conditions = 1 it is a plain pairwise decoder, p = s. Initial weights are Xavier uniform, biases zero; see
    `pan_model.model.initialisation` for the alternative. The product of two unit vectors of length E is multiplied by
    E, so that its entries have the scale of the other joints' and learning rates are comparable.

    `forward` is the straight form, without `precision`, which training steps (`pan_model.training.pair_loss`) and
    scores (`pan_model.model.pair_scores`) follow.
    """

    def __init__(self, config: SimilarityConfig, *, embedding_dim: int, num_conditions: int) -> None:
        super().__init__()
        self.joint = config.joint
        self.condition_dropout = config.condition_dropout
        self.precision = config.precision or Precision.FLOAT32
        self.joint_scale = embedding_dim if config.joint is Joint.PRODUCT else 1
        joint_dim = embedding_dim if config.joint.symmetric else 2 * embedding_dim
        self.dropout = nn.Dropout(config.dropout)
        self.similarity = nn.Linear(joint_dim, num_conditions)
        self.relevance = nn.Linear(joint_dim, num_conditions)
        for layer in (self.similarity, self.relevance):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def represent(self, h1: Float[Tensor, "P E"], h2: Float[Tensor, "P E"]) -> Float[Tensor, "P J"]:
        """Return the scaled joint representation of P pairs."""
        return joint_representation(h1, h2, self.joint) * self.joint_scale

    def forward(self, h1: Float[Tensor, "P E"], h2: Float[Tensor, "P E"]) -> PairSimilarity:
        """Score P pairs of embeddings."""
        j = self.dropout(self.represent(h1, h2))
        return PairSimilarity(self.similarity(j), torch.log_softmax(self._drop(self.relevance(j)), dim=1))

    def _drop(self, relevance_logits: Float[Tensor, "P M"]) -> Float[Tensor, "P M"]:
        """Drop conditions from the scores of pairs in training; a pair whose conditions are all drawn keeps them."""
        if not (self.training and self.condition_dropout):
            return relevance_logits
        drawn = torch.rand_like(relevance_logits) < self.condition_dropout
        return relevance_logits.masked_fill(drawn & ~drawn.all(dim=1, keepdim=True), DROPPED)
