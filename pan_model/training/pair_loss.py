"""The losses of pairs and conditions, and their gradients, in one pass over chunks of pairs.

For a pair with similarity logits z, relevance logits a and label y let t = z if y else -z, r = softmax(a),
q = sigmoid(t). The loss of the pair is -log sum_m r_m q_m, and with the posterior pi_m = r_m q_m / sum_k r_k q_k its
gradient is r - pi with respect to a and -pi (1 - q) with respect to t. `pair_losses` and `condition_loss` in `loss.py`
are the straight form, which autograd differentiates.

Memory does not grow with P: the joint representation, the logits (2M, C), their gradients and the labels exist for a
chunk of C pairs at a time. On a CPU a chunk fits in the cache, and chunks are divided among threads.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.model.pair_labels import PairLabels
from pan_model.model.similarity import DROPPED, ConditionSimilarity
from pan_model.reproducibility import computing_threads
from pan_model.shapes import Bool, Float, Int
from pan_model.training.loss import MASK_EPSILON
from pan_model.training.pair_logits import Operands

CHUNK_FLOATS = {"cpu": 5 * 2**17, "cuda": 2**25}
"""Floats of a chunk's joint representation that fit in the cache, by device."""

CHUNK_PAIRS = {"cpu": (512, 1024), "cuda": (1024, 2**20)}
"""The fewest pairs for which a chunk's products are fast, and the most pairs of a chunk, by device."""

SHARE = 128
"""The fewest pairs that are worth another thread."""

MAX_STREAMS = 8
"""The most threads that chunks are divided among."""

LARGEST_LOSS = {torch.float32: 69.0, torch.float64: 660.0}
"""Losses of pairs up to which the products of relevances and similarities keep their precision."""


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
    return _run(plan, backward=False, train_rows=False).of_pairs


class _Plan:
    """How the pairs of a step are divided into chunks, and what chunks read."""

    def __init__(self, similarity: ConditionSimilarity, operands: Operands, pairs: StepPairs, size: int | None) -> None:
        self.operands = operands
        self.labels, self.lambda_ = pairs.labels, pairs.lambda_
        self.num_conditions = similarity.similarity.out_features
        self.conditions_dropped = similarity.condition_dropout if similarity.training else 0.0
        dtype, device = operands.rows.dtype, operands.rows.device
        self.num_pairs = len(pairs.same)
        self.places = pairs.places.contiguous()
        self.same = pairs.same
        self.weights = pairs.weights.to(dtype)
        self.sign = pairs.same.to(dtype).mul_(2).sub_(1)
        num_threads = torch.get_num_threads() if device.type == "cpu" else 1
        self.size = size or chunk_size(self.num_pairs, operands.width, device, num_threads=num_threads)
        starts = range(0, self.num_pairs, self.size)
        self.chunks = [slice(start, min(start + self.size, self.num_pairs)) for start in starts]
        self.num_streams = max(1, min(num_threads, len(self.chunks), MAX_STREAMS))
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
    """Compute the chunks of a step, once more by logarithms if products of probabilities underflow.

    A GPU always computes by logarithms: it would have to wait for the outcome of the check.
    """
    if plan.places.device.type == "cpu":
        sums = _run_chunks(plan, backward=backward, train_rows=train_rows, exact=False)
        largest = sums.of_pairs.max().item()
        if largest < LARGEST_LOSS[sums.of_pairs.dtype] and math.isfinite(sums.of_conditions.sum().item()):
            return sums
    return _run_chunks(plan, backward=backward, train_rows=train_rows, exact=True)


def _run_chunks(plan: _Plan, *, backward: bool, train_rows: bool, exact: bool) -> _Sums:
    of_pairs, of_conditions = plan.weights.new_zeros(2, plan.num_pairs)
    streams = [
        _Stream(plan, of_pairs, of_conditions, backward=backward, train_rows=train_rows, exact=exact)
        for _ in range(plan.num_streams)
    ]
    _in_parallel([partial(stream.run, first) for first, stream in enumerate(streams)])
    gradients = streams[0].gradients
    for stream in streams[1:]:
        for total, more in zip(gradients, stream.gradients, strict=True):
            if total is not None and more is not None:
                total.add_(more)
    return _Sums(of_pairs.neg_(), of_conditions, *gradients)


class _Buffers:
    """The arrays of a chunk of C pairs. Each is used for several values in turn, so that they stay in the cache."""

    def __init__(self, like: Tensor, num_conditions: int, size: int) -> None:
        self.logits = like.new_empty(2 * num_conditions, size)
        self.t, self.relevance = self.logits.split(num_conditions)
        self.q, self.complement, self.posterior, self.errors = like.new_empty(4, num_conditions, size)


class _Stream:
    """A thread's chunks of a step, with its own buffers and sums of gradients."""

    def __init__(
        self,
        plan: _Plan,
        of_pairs: Float[Tensor, "P"],
        of_conditions: Float[Tensor, "P"],
        *,
        backward: bool,
        train_rows: bool,
        exact: bool,
    ) -> None:
        self._plan = plan
        self._of_pairs, self._of_conditions = of_pairs, of_conditions
        self._backward, self._exact = backward, exact
        self._logits = plan.operands.pair_logits(plan.size, train_rows=train_rows)
        self._buffers = _Buffers(of_pairs, plan.num_conditions, 0)
        self._generator = torch.Generator(of_pairs.device)

    @property
    def gradients(self) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """The gradients of rows, weights and biases."""
        return self._logits.of_rows, self._logits.of_weight, self._logits.of_bias

    @torch.no_grad()
    def run(self, first: int) -> None:
        """Compute every n-th chunk of n streams, from `first`."""
        plan = self._plan
        for number in range(first, len(plan.chunks), plan.num_streams):
            chunk = plan.chunks[number]
            if plan.seeds:
                self._generator.manual_seed(plan.seeds[number])
            if self._buffers.logits.shape[1] != chunk.stop - chunk.start:
                self._buffers = _Buffers(self._of_pairs, plan.num_conditions, chunk.stop - chunk.start)
            self._compute(chunk, plan.places[chunk], plan.sign[chunk])

    def _compute(self, chunk: slice, places: Int[Tensor, "C 2"], sign: Float[Tensor, "C"]) -> None:
        """Compute the losses of a chunk of pairs; the gradient of its logits replaces them."""
        b, plan = self._buffers, self._plan
        self._logits.forward(places, self._generator, b.logits)
        if plan.conditions_dropped:
            drawn = torch.empty_like(b.t).uniform_(generator=self._generator) < plan.conditions_dropped
            b.relevance.masked_fill_(drawn & ~drawn.all(dim=0), DROPPED)
        torch.sigmoid(b.t.mul_(sign), out=b.q)
        torch.neg(b.t, out=b.complement).sigmoid_()
        scale = self._compare_with_labels(plan.labels, chunk, places, sign) if plan.labels is not None else None
        self._of_pairs[chunk] = self._weighted_posterior(plan.weights[chunk])
        if not self._backward:
            return
        b.relevance.sub_(b.posterior)
        torch.mul(b.posterior, b.complement, out=b.t).mul_(-sign)
        if scale is not None:
            b.t[: len(scale[0])].addcmul_(*scale)
        self._logits.backward(places, b.logits)

    def _compare_with_labels(
        self, labels: PairLabels, chunk: slice, places: Int[Tensor, "C 2"], sign: Float[Tensor, "C"]
    ) -> tuple[Float[Tensor, "K C"], Float[Tensor, "C"]]:
        """Compute the losses of the labelled conditions, BCE(z, a) = softplus(t) - b t with b = a if y else 1 - a.

        Returns:
            Two factors of the gradient of z.
        """
        plan, buffers = self._plan, self._buffers
        agree, certain = labels(places, plan.same[chunk])
        count = len(agree)
        targets, values, t = buffers.errors[:count], buffers.posterior[:count], buffers.t[:count]
        targets.copy_(agree)
        if self._exact:
            torch.neg(F.softplus(t, threshold=40), out=values)
        else:
            torch.log(buffers.complement[:count], out=values)
        values.addcmul_(targets, t)
        errors = torch.sub(buffers.q[:count], targets, out=targets)
        if certain is None:
            per_label = sign.new_full((), 1 / (count + MASK_EPSILON))
        else:
            mask = certain.to(t.dtype)
            values.mul_(mask)
            errors.mul_(mask)
            per_label = mask.sum(dim=0).add_(MASK_EPSILON).reciprocal_()
        torch.mul(values.sum(dim=0), -per_label, out=self._of_conditions[chunk])
        return errors, per_label * sign * (plan.lambda_ / plan.num_pairs)

    def _weighted_posterior(self, weights: Float[Tensor, "C"]) -> Float[Tensor, "C"]:
        """Return log sum_m r_m q_m; leave the pairs' weights times r and pi in `relevance` and `posterior`."""
        b = self._buffers
        if self._exact:
            log_relevance = torch.log_softmax(b.relevance, dim=0)
            log_joint = F.logsigmoid(b.t).add_(log_relevance)
            log_score = torch.logsumexp(log_joint, dim=0)
            torch.exp(log_relevance, out=b.relevance).mul_(weights)
            torch.sub(log_joint, log_score, out=b.posterior).exp_().mul_(weights)
            return log_score
        b.relevance.sub_(b.relevance.amax(dim=0)).exp_()
        total, score = b.relevance.sum(dim=0), torch.mul(b.relevance, b.q, out=b.posterior).sum(dim=0)
        b.relevance.mul_(weights / total)
        b.posterior.mul_(weights / score)
        return score.div_(total).log_()


def _in_parallel(runs: list[Callable[[], None]]) -> None:
    """Call each function in its own thread, on one core: the cores of small operations would wait for each other."""
    if len(runs) == 1:
        runs[0]()
        return
    with computing_threads(1):
        futures = [_pool(os.getpid()).submit(_on_one_core, run) for run in runs[1:]]
        try:
            runs[0]()
        finally:
            wait(futures)
        for future in futures:
            future.result()


def _on_one_core(run: Callable[[], None]) -> None:
    torch.set_num_threads(1)
    run()


@cache
def _pool(_process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; a forked one has none of those before it."""
    return ThreadPoolExecutor(MAX_STREAMS - 1, "pair-chunks")
