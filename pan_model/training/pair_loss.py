"""The losses of pairs and conditions, and their gradients, in one pass over chunks of pairs.

For a pair with similarity logits z, relevance logits a and label y let t = z if y else -z, u = -t, r = softmax(a),
q = sigmoid(t). The loss of the pair is -log sum_m r_m q_m, and with the posterior pi_m = r_m q_m / sum_k r_k q_k its
gradient is r - pi with respect to a and -pi (1 - q) with respect to t. `pair_losses` and `condition_loss` in `loss.py`
are the straight form, which autograd differentiates.

Memory does not grow with P: the joint representation, the logits (2M, C), their gradients and the labels exist for a
chunk of C pairs at a time. On a CPU a chunk fits in the cache, and chunks are divided among threads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.model.pair_labels import PairLabels
from pan_model.model.similarity import DROPPED, ConditionSimilarity
from pan_model.model.threads import num_streams, run_in_parallel
from pan_model.shapes import Bool, Float, Int, UInt8
from pan_model.training.loss import MASK_EPSILON
from pan_model.training.pair_logits import Operands

CHUNK_FLOATS = {"cpu": 5 * 2**17, "cuda": 2**25}
"""Floats of a chunk's joint representation that fit in the cache, by device."""

CHUNK_PAIRS = {"cpu": (512, 1024), "cuda": (1024, 2**20)}
"""The fewest pairs for which a chunk's products are fast, and the most pairs of a chunk, by device."""

SORTED_PAIRS = 1024
"""Pairs of a step from which it pays to sort them by their first item."""

SHARE = 128
"""The fewest pairs that are worth another thread."""

BLOCK_VALUES = {"cpu": 5 * 2**14, "cuda": 2**25}
"""Values of an array of a block of pairs, several of which fit in the cache, by device."""

MORE_PAIRS = ((16, 2.0), (64, 1.5))
"""Up to so many conditions a chunk has so many times the pairs: operations on few logits take long to start."""

LABEL_BYTES = 2**18
"""Labels that are computed at a time, unless those of one chunk are more."""

MIN_BLOCK = 64
"""Pairs of which a block has a multiple."""

LARGEST_LOGARITHM = {torch.float32: 69.0, torch.float64: 660.0}
"""Sums of exponentials whose logarithm is at most as large, or minus that, keep their precision."""

Codes = tuple[UInt8[Tensor, "K _"], UInt8[Tensor, "K _"] | None]
"""The labels of pairs, and whether they are certain, as `PairLabels` returns them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StepPairs:
    """The pairs of a step.

    Attributes:
        places: The items of each pair, as rows of the step's embeddings.
        same: Whether both are of the same class or outfit.
        weights: The weights of the pairs in the loss of their scores.
        labels: The labels of the conditions; None if none has labels.
        lambda_: The weight of the loss of the conditions.
    """

    places: Int[Tensor, "P 2"]
    same: Bool[Tensor, "P"]
    weights: Float[Tensor, "P"]
    labels: PairLabels | None = None
    lambda_: float = 0.0


class PairLosses(NamedTuple):
    """`total` = pairs + lambda * conditions, which alone has a gradient."""

    total: Float[Tensor, ""]
    pairs: Float[Tensor, ""]
    conditions: Float[Tensor, ""]


def chunk_size(num_pairs: int, width: int, device: torch.device, *, num_threads: int = 1) -> int:
    """Return how many pairs a chunk has: what fits in the cache, or one share of the threads if that is less.

    Args:
        num_pairs: P.
        width: The length of a pair's joint representation.
        device: The device of the computation.
        num_threads: The threads that chunks are divided among.
    """
    fewest, most = CHUNK_PAIRS[device.type]
    fitting = min(max(CHUNK_FLOATS[device.type] // width, fewest), most)
    share = max(-(-num_pairs // num_threads), min(num_pairs, SHARE))
    return max(1, -(-share // max(1, -(-share // fitting))))


def step_losses(
    similarity: ConditionSimilarity,
    embeddings: Float[Tensor, "U E"],
    pairs: StepPairs,
    *,
    size: int | None = None,
) -> PairLosses:
    """Return the losses of P pairs of a step, with the gradient of `total` computed in the same pass.

    In training mode the module's dropouts apply; torch's CPU generator gives each chunk a seed.

    Args:
        similarity: The module.
        embeddings: The embeddings of the step's U items.
        pairs: The pairs.
        size: The pairs of a chunk; by default chosen by device and threads.
    """
    operands = Operands(similarity, embeddings)
    plan = _Plan(similarity, operands, pairs, size)
    return PairLosses(*_FusedLosses.apply(plan, operands.rows, operands.weight, operands.bias))


@torch.no_grad()
def losses_of_pairs(
    similarity: ConditionSimilarity,
    embeddings: Float[Tensor, "U E"],
    places: Int[Tensor, "P 2"],
    same: Bool[Tensor, "P"],
    *,
    size: int | None = None,
) -> Float[Tensor, "P"]:
    """Return the binary cross-entropy of each pair's score, as `pair_losses` does, without gradients."""
    pairs = StepPairs(places=places, same=same, weights=embeddings.new_ones(len(same)))
    plan = _Plan(similarity, Operands(similarity, embeddings), pairs, size)
    losses = _run(plan, backward=False, train_rows=False).of_pairs
    return losses if plan.order is None else torch.empty_like(losses).index_copy_(0, plan.order, losses)


class _Plan:
    """How the pairs of a step are divided into chunks, and what chunks read."""

    def __init__(self, similarity: ConditionSimilarity, operands: Operands, pairs: StepPairs, size: int | None) -> None:
        self.operands = operands
        self.labels, self.lambda_ = pairs.labels, pairs.lambda_
        self.num_conditions = similarity.similarity.out_features
        self.conditions_dropped = similarity.condition_dropout if similarity.training else 0.0
        dtype, device = operands.rows.dtype, operands.rows.device
        self.num_pairs = len(pairs.same)
        # The row of the first item then often is in the cache already.
        by_item = device.type == "cpu" and self.num_pairs >= SORTED_PAIRS
        self.order = pairs.places[:, 0].argsort(stable=True) if by_item else None
        places, same, weights = pairs.places, pairs.same, pairs.weights
        if self.order is not None:
            places, same, weights = (values.index_select(0, self.order) for values in (places, same, weights))
        self.places = places.contiguous()
        self.different = ~same
        self.weights = weights.to(dtype)
        self.sign = same.to(dtype).mul_(2).sub_(1)
        self.minus_sign = -self.sign
        num_threads = torch.get_num_threads() if device.type == "cpu" else 1
        more = next((more for most, more in MORE_PAIRS if self.num_conditions <= most), 1.0)
        width = math.ceil(operands.width / more)
        self.size = size or chunk_size(self.num_pairs, width, device, num_threads=num_threads)
        self.block_size = max(MIN_BLOCK, BLOCK_VALUES[device.type] // self.num_conditions // MIN_BLOCK * MIN_BLOCK)
        self.chunks = _slices(self.num_pairs, self.size)
        self.num_streams = num_streams(device, len(self.chunks))
        draws = operands.dropped or self.conditions_dropped
        self.seeds = torch.randint(2**62, (len(self.chunks),)).tolist() if draws else []


class _Sums(NamedTuple):
    """What the chunks of a step add up to: -log of each pair's score, losses of its conditions, and gradients."""

    of_pairs: Float[Tensor, "P"]
    of_conditions: Float[Tensor, "P"]
    rows: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


class _FusedLosses(torch.autograd.Function):
    """The total loss of a step; its gradients are computed with it, since both need the same chunks."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, _rows: Tensor, _weight: Tensor | None, _bias: Tensor) -> tuple[Tensor, ...]:
        sums = _run(plan, backward=any(ctx.needs_input_grad), train_rows=ctx.needs_input_grad[1])
        ctx.gradients = sums[2:]
        of_pairs = plan.weights @ sums.of_pairs
        of_conditions = sums.of_conditions.mean()
        total = of_pairs + plan.lambda_ * of_conditions
        ctx.mark_non_differentiable(of_pairs, of_conditions)
        return total, of_pairs, of_conditions

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        scale = gradients[0]
        return None, *(None if gradient is None else gradient * scale for gradient in ctx.gradients)


@torch.no_grad()
def _run(plan: _Plan, *, backward: bool, train_rows: bool) -> _Sums:
    """Compute the chunks of a step, once more by logarithms if exponentials overflow or underflow.

    A GPU always computes by logarithms: it would have to wait for the outcome of the check.
    """
    if plan.places.device.type == "cpu":
        (totals, scores, of_conditions), gradients = _run_chunks(
            plan, backward=backward, train_rows=train_rows, exact=False
        )
        largest = math.exp(LARGEST_LOGARITHM[totals.dtype])
        in_range = totals.max().item() < largest and scores.min().item() > 1 / largest
        if in_range and math.isfinite(of_conditions.sum().item()):
            return _Sums(totals.div_(scores).log_(), of_conditions, *gradients)
    (_, log_scores, of_conditions), gradients = _run_chunks(plan, backward=backward, train_rows=train_rows, exact=True)
    return _Sums(log_scores.neg_(), of_conditions, *gradients)


def _run_chunks(
    plan: _Plan, *, backward: bool, train_rows: bool, exact: bool
) -> tuple[Float[Tensor, "3 P"], tuple[Tensor | None, Tensor | None, Tensor]]:
    """Return what `_Stream` notes of each pair, and the gradients."""
    results = plan.weights.new_zeros(3, plan.num_pairs)
    streams = [
        _Stream(plan, results, backward=backward, train_rows=train_rows, exact=exact) for _ in range(plan.num_streams)
    ]
    share = -(-len(plan.chunks) // len(streams))
    numbers = range(len(plan.chunks))
    run_in_parallel([partial(stream.run, numbers[n * share : (n + 1) * share]) for n, stream in enumerate(streams)])
    gradients = streams[0].gradients
    for stream in streams[1:]:
        for total, more in zip(gradients, stream.gradients, strict=True):
            if total is not None and more is not None:
                total.add_(more)
    return results, gradients


class _Buffers:
    """The arrays of a block of pairs. Each is used for several values in turn, so that they stay in the cache."""

    def __init__(self, plan: _Plan, memory: Float[Tensor, "n"], size: int) -> None:
        num_labelled = 0 if plan.labels is None else plan.labels.num_labelled
        rows = (plan.num_conditions, plan.num_conditions, num_labelled, num_labelled, 2 * plan.num_conditions)
        arrays = memory[: sum(rows) * size].view(-1, size).split(rows)
        self.q, self.posterior, self.errors, self.mask, self.logits = arrays


class _Stream:
    """A thread's chunks of a step, with its own buffers and sums of gradients."""

    def __init__(
        self, plan: _Plan, results: Float[Tensor, "3 P"], *, backward: bool, train_rows: bool, exact: bool
    ) -> None:
        self._plan = plan
        self._totals, self._scores, self._of_conditions = results
        self._backward, self._exact = backward, exact
        self._logits = plan.operands.pair_logits(plan.size, train_rows=train_rows)
        size = min(plan.size, plan.block_size)
        self._memory = results.new_empty(6 * plan.num_conditions * size)
        self._buffers = _Buffers(plan, self._memory, size)
        self._generator = torch.Generator(results.device)

    @property
    def gradients(self) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """The gradients of rows, weights and biases."""
        return self._logits.of_rows, self._logits.of_weight, self._logits.of_bias

    @torch.inference_mode()
    def run(self, chunks: Sequence[int]) -> None:
        """Compute some chunks that follow one another; labels are computed for several small chunks at a time."""
        plan = self._plan
        at_once = len(chunks) if plan.labels is None else max(1, LABEL_BYTES // (plan.size * plan.num_conditions))
        for first in range(0, len(chunks), at_once):
            numbers = chunks[first : first + at_once]
            start, stop = plan.chunks[numbers[0]].start, plan.chunks[numbers[-1]].stop
            codes = None if plan.labels is None else plan.labels(plan.places[start:stop], plan.different[start:stop])
            for number in numbers:
                chunk = plan.chunks[number]
                if plan.seeds:
                    self._generator.manual_seed(plan.seeds[number])
                places = plan.places[chunk]
                logits = self._logits.forward(places, self._generator)
                for block in _slices(len(places), plan.block_size):
                    pairs = _shifted(block, chunk.start)
                    self._compute(logits[:, block], _columns(codes, _shifted(pairs, -start)), pairs)
                if self._backward:
                    self._logits.backward(places, logits)

    def _compute(self, logits: Float[Tensor, "L C"], codes: Codes | None, pairs: slice) -> None:
        """Compute the losses of a block of pairs; the gradient of its logits, given without biases, replaces them."""
        plan, b = self._plan, self._buffers_of(logits.shape[1])
        same_type = logits.dtype == b.q.dtype
        values = logits if same_type else b.logits.copy_(logits)
        u, relevance = values.add_(self._logits.bias).split(plan.num_conditions)
        u.mul_(plan.minus_sign[pairs])
        if plan.conditions_dropped:
            drawn = torch.empty_like(b.q).uniform_(generator=self._generator) < plan.conditions_dropped
            relevance.masked_fill_(drawn & ~drawn.all(dim=0), DROPPED)
        if self._exact:
            torch.neg(u, out=b.q).sigmoid_()
        else:
            torch.exp(u, out=b.q).add_(1)
        per_label = None if codes is None else self._compare_with_labels(codes, u, pairs)
        if codes is None and not self._exact:
            b.q.reciprocal_()
        factor = self._take_scores(u, relevance, plan.weights[pairs], pairs)
        if not self._backward:
            return
        torch.addcmul(b.posterior, relevance, factor, out=relevance)
        torch.addcmul(b.posterior, b.posterior, b.q, value=-1, out=u)
        if per_label is not None:
            u[: len(b.errors)].addcmul_(b.errors, per_label)
        u.mul_(plan.sign[pairs])
        if not same_type:
            logits.copy_(values)

    def _buffers_of(self, size: int) -> _Buffers:
        if self._buffers.q.shape[1] != size:
            self._buffers = _Buffers(self._plan, self._memory, size)
        return self._buffers

    def _compare_with_labels(self, codes: Codes, u: Float[Tensor, "M C"], pairs: slice) -> Float[Tensor, "C"]:
        """Compute the losses of the labelled conditions, log(1 + e^u) - (1 - b) u, and leave q - b in `errors`.

        Unless `exact`, 1 + e^u is in `q`, and its reciprocal q replaces it.

        Returns:
            The factor of `errors` that gives the gradient of t.
        """
        plan, b = self._plan, self._buffers
        losses, u, q = (values[: len(b.errors)] for values in (b.posterior, u, b.q))
        if self._exact:
            losses.copy_(F.softplus(u, threshold=40))
        else:
            torch.log(q, out=losses)
            b.q.reciprocal_()
        losses.addcmul_(b.errors.copy_(codes[0]), u, value=-1)
        b.errors.add_(q).sub_(1)
        if codes[1] is None:
            per_label = losses.new_full(losses.shape[1:], 1 / (len(losses) + MASK_EPSILON))
        else:
            b.mask.copy_(codes[1])
            losses.mul_(b.mask)
            b.errors.mul_(b.mask)
            per_label = b.mask.sum(dim=0).add_(MASK_EPSILON).reciprocal_()
        torch.mul(losses.sum(dim=0), per_label, out=self._of_conditions[pairs])
        return per_label.mul_(plan.lambda_ / plan.num_pairs)

    def _take_scores(
        self, u: Float[Tensor, "M C"], relevance: Float[Tensor, "M C"], weights: Float[Tensor, "C"], pairs: slice
    ) -> Float[Tensor, "C"]:
        """Note the sums of exp(a_m) and of exp(a_m) q_m, or 1 and the latter's logarithm if `exact`.

        Minus the weighted posterior is left in `posterior`, and exp(a_m) in `relevance`.

        Returns:
            The factor of `relevance` that gives the weighted relevance.
        """
        b, totals, scores = self._buffers, self._totals[pairs], self._scores[pairs]
        if self._exact:
            relevance.copy_(torch.log_softmax(relevance, dim=0))
            log_joint = F.logsigmoid(u.neg()).add_(relevance)
            scores.copy_(torch.logsumexp(log_joint, dim=0))
            totals.fill_(1)
            relevance.exp_()
            torch.sub(log_joint, scores, out=b.posterior).exp_().mul_(weights.neg())
            return weights
        totals.copy_(relevance.exp_().sum(dim=0))
        scores.copy_(torch.mul(relevance, b.q, out=b.posterior).sum(dim=0))
        b.posterior.mul_((weights / scores).neg_())
        return weights / totals


def _slices(num_pairs: int, size: int) -> list[slice]:
    """Divide pairs into parts of at most `size`."""
    return [slice(start, min(start + size, num_pairs)) for start in range(0, num_pairs, size)]


def _shifted(pairs: slice, by: int) -> slice:
    return slice(pairs.start + by, pairs.stop + by)


def _columns(codes: Codes | None, block: slice) -> Codes | None:
    return None if codes is None else (codes[0][:, block], None if codes[1] is None else codes[1][:, block])
