"""The logits of chunks of pairs under all conditions, and the gradients of what they are computed from.

Logits have the conditions as rows, (2M, C): similarities, then relevances. Sums over conditions and products with
values of pairs then run along memory.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.model.gathered_joint import FEW_LOGITS, PairDifference, PairJoint, SumOfRows, joint_rows
from pan_model.model.precision import Precision, as_operand, multiply
from pan_model.model.similarity import ConditionSimilarity, Joint
from pan_model.shapes import Float, Int


class Operands:
    """What the logits of pairs are computed from, differentiable: rows of the items, weights and biases.

    Concat is separable, W [h1, h2] = Wa h1 + Wb h2: its rows are the logits of the items as the first of a pair, and
    then as the second, (2N, 2M), and there are no further weights. Dropout falls on the pairs' representations, which
    separation does not form.

    Attributes:
        joint: The joint representation.
        precision: The type of the operands of products.
        dropped: The share of its entries that is dropped.
        rows: The rows of N items, (N, E), or (2N, 2M).
        weight: The weights (2M, J); None if the rows are logits.
        bias: The biases (2M).
    """

    def __init__(self, similarity: ConditionSimilarity, embeddings: Float[Tensor, "N E"]) -> None:
        weight = torch.cat([similarity.similarity.weight, similarity.relevance.weight])
        self.joint = similarity.joint
        self.precision = similarity.precision
        self.dropped = similarity.dropout.p if similarity.training else 0.0
        self.bias: Float[Tensor, "L"] = torch.cat([similarity.similarity.bias, similarity.relevance.bias])
        self.weight: Float[Tensor, "L J"] | None = None
        if self.joint is Joint.CONCAT and not self.dropped:
            halves = weight.split(embeddings.shape[1], dim=1)
            self.rows: Float[Tensor, "R W"] = torch.cat([F.linear(embeddings, half) for half in halves])
        else:
            self.weight = weight
            self.rows = joint_rows(embeddings, self.joint)

    @property
    def width(self) -> int:
        """The size of a pair in a chunk, in values of float32."""
        values = self.rows.shape[1] * (2 if self.joint is Joint.CONCAT and self.weight is not None else 1)
        return -(-values // 2) if self.precision is Precision.BFLOAT16 and self.weight is not None else values

    def pair_logits(self, chunk_size: int, *, train_rows: bool) -> "PairLogits":
        """Return the logits of chunks of at most `chunk_size` pairs.

        Args:
            chunk_size: The most pairs of a chunk.
            train_rows: Whether the rows need a gradient.
        """
        if self.weight is None:
            return _LogitRows(self, chunk_size, train_rows)
        return _JointProducts(self, self.weight.detach(), chunk_size, train_rows)


class PairLogits(Protocol):
    """The logits of chunks of pairs. Gradients add up over chunks.

    Attributes:
        bias: The biases (2M, 1), which the logits of `forward` lack.
        of_rows: The gradient of the rows; None if they need none.
        of_weight: The gradient of the weights; None if there are none.
        of_bias: The gradient of the biases.
    """

    bias: Float[Tensor, "L 1"]
    of_rows: Float[Tensor, "R W"] | None
    of_weight: Float[Tensor, "L J"] | None
    of_bias: Float[Tensor, "L"]

    def forward(self, places: Int[Tensor, "C 2"], generator: torch.Generator) -> Float[Tensor, "L C"]:
        """Return the logits of a chunk without biases, in a buffer that takes their gradient."""
        ...

    def backward(self, places: Int[Tensor, "C 2"], gradient: Float[Tensor, "L C"]) -> None:
        """Add the gradients of the chunk that `forward` computed last, given that of its logits."""
        ...


class _LogitRows:
    """Sums of two rows of logits."""

    def __init__(self, operands: Operands, chunk_size: int, train_rows: bool) -> None:
        self._rows = operands.rows.detach()
        self.bias = operands.bias.detach()[:, None]
        self._as_second = torch.tensor([0, len(self._rows) // 2], device=self._rows.device)
        self._sums = SumOfRows(chunk_size, self._rows.device)
        self.of_rows: Tensor | None = torch.zeros_like(self._rows) if train_rows else None
        self.of_weight: Tensor | None = None
        self.of_bias = torch.zeros_like(operands.bias)

    def forward(self, places: Tensor, generator: torch.Generator) -> Tensor:
        return self._sums(self._rows, places + self._as_second).t().contiguous()

    def backward(self, places: Tensor, gradient: Tensor) -> None:
        self.of_bias += gradient.sum(dim=1)
        if self.of_rows is not None:
            of_pairs = gradient.t().contiguous()
            for column in (places + self._as_second).t().contiguous():
                self.of_rows.index_add_(0, column, of_pairs)


class _JointProducts:
    """Products of the weights and the pairs' joint representations."""

    _rounded: Tensor | None = None

    def __init__(self, operands: Operands, weight: Tensor, chunk_size: int, train_rows: bool) -> None:
        self._joint, self._dropped = operands.joint, operands.dropped
        self._rows = as_operand(operands.rows.detach(), operands.precision)
        self._weight = as_operand(weight, operands.precision)
        self.bias = operands.bias.detach()[:, None]
        self._transposed = self._weight.t().contiguous()
        self._difference = PairDifference(self._rows, chunk_size)
        self._pair_joint = PairJoint(self._rows, self._joint, chunk_size)
        self._logits = self._rows.new_empty(len(weight) * chunk_size)
        self._chunk = self._mask = self._first = self._second = self._rows[:0]
        self.of_rows: Tensor | None = torch.zeros_like(operands.rows) if train_rows else None
        self._of_weight = torch.zeros_like(weight)
        if self._weight.dtype != weight.dtype:
            self._rounded, self._widened = torch.empty_like(self._weight), torch.empty_like(weight)
            self._ones = self._rows.new_ones(chunk_size, 1)
        self.of_weight: Tensor | None = self._of_weight
        self.of_bias = torch.zeros_like(operands.bias)

    def forward(self, places: Tensor, generator: torch.Generator) -> Tensor:
        self._chunk = self._represent(places)
        if self._dropped:
            self._mask = dropout_mask(self._chunk, self._dropped, generator)
            self._chunk = self._chunk.mul_(self._mask)
        logits = self._logits[: len(self._weight) * len(places)].view(len(self._weight), len(places))
        if len(logits) <= FEW_LOGITS:
            return logits.copy_(multiply(self._chunk, self._transposed).t())
        if logits.is_cuda:
            return multiply(self._weight, self._chunk.t())
        return torch.mm(self._weight, self._chunk.t(), out=logits)

    def backward(self, places: Tensor, gradient: Tensor) -> None:
        if self._rounded is None:
            self.of_bias += gradient.sum(dim=1)
            self._of_weight.addmm_(gradient, self._chunk)
        else:  # sums of two types would be written out in the wider type first
            self.of_bias += multiply(gradient, self._ones[: len(places)])[:, 0]
            if gradient.is_cuda:
                self._of_weight += multiply(gradient, self._chunk)
            else:
                self._of_weight += self._widened.copy_(torch.mm(gradient, self._chunk, out=self._rounded))
        if self.of_rows is None:
            self._chunk = self._rows[:0]  # freed, so that the next chunk takes the same memory
            return
        of_chunk = multiply(gradient.t(), self._weight)
        if self._dropped:
            of_chunk.mul_(self._mask)
        first, second = places.t().contiguous()
        match self._joint:
            case Joint.ABSDIFF:
                of_first = of_chunk.mul_(self._first.sgn_()).to(self.of_rows.dtype)
                self.of_rows.index_add_(0, first, of_first)
                self.of_rows.index_add_(0, second, of_first, alpha=-1)
            case Joint.PRODUCT:
                self.of_rows.index_add_(0, first, self._second.mul_(of_chunk).to(self.of_rows.dtype))
                self.of_rows.index_add_(0, second, self._first.mul_(of_chunk).to(self.of_rows.dtype))
            case Joint.CONCAT:
                of_pairs = of_chunk.to(self.of_rows.dtype).view(2 * len(places), -1)
                self.of_rows.index_add_(0, places.reshape(-1), of_pairs)

    def _represent(self, places: Tensor) -> Tensor:
        """Return the joint representations of a chunk, and keep what their gradient needs."""
        if self.of_rows is not None and self._joint is Joint.ABSDIFF:
            self._first = self._difference(places)
            return self._first.abs()
        if self.of_rows is not None and self._joint is Joint.PRODUCT:
            self._first, self._second = (self._rows.index_select(0, column) for column in places.t().contiguous())
            return self._first * self._second
        return self._pair_joint(places)


def dropout_mask(like: Float[Tensor, "C J"], share: float, generator: torch.Generator) -> Float[Tensor, "C J"]:
    """Return factors that drop a share of entries and scale the others, so that the mean factor is 1.

    Four entries share 64 random bits, which takes less than half the time of a random number for each entry. The share
    is rounded to a multiple of 1 / 65536, and the others are scaled accordingly.
    """
    num_dropped = min(round(share * 2**16), 2**16 - 1)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device)
    drawn = words.random_(-(2**63), None, generator=generator).view(torch.int16)[: like.numel()].view(like.shape)
    return drawn.ge(num_dropped - 2**15).to(like.dtype).mul_(2**16 / (2**16 - num_dropped))
