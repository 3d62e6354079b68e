"""Scores of many pairs of embedded items without gradients, a chunk of pairs at a time.

The straight form is `ConditionSimilarity.forward`. This form computes what depends on one item once an item, forms the
joint representations of a chunk in the CPU's cache, and multiplies them once by the weights of W1 and W2, stacked. The
logits of few conditions are laid out with the conditions first, so that sums over them run along contiguous pairs.

Shape letters: P pairs, Q and G the items of a block, E embedding, M conditions, B blocks of C pairs.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pan_model.model.gathered_joint import FEW_LOGITS, PairJoint, SumOfRows, joint_rows
from pan_model.model.precision import Precision, as_operand, multiply
from pan_model.model.similarity import ConditionSimilarity, Joint, PairSimilarity
from pan_model.model.threads import num_streams, run_in_parallel
from pan_model.shapes import Float, Int

JOINT_VALUES = {"cpu": 5 * 2**17, "cuda": 2**26}
"""Values of joint representations that are formed at a time, for each thread of a CPU: they should fit in its cache."""

LOGIT_VALUES = {"cpu": 2**18, "cuda": 2**26}
"""Values of logits that are computed at a time, for each thread of a CPU."""

MIN_PAIRS, MAX_PAIRS = 256, {"cpu": 1024, "cuda": 2**18}
"""Fewest and most pairs of a chunk, for each thread of a CPU."""

QUERIES_PER_TILE = 8
"""Rows of a tile of joint representations: each row of the gallery is read from memory once for so many queries."""

UNDERFLOW = 60.0
"""Log-odds from which a sum of exponentials may underflow; beyond it they are computed from logarithms."""


WIDE = 256
"""Logits of a pair from which sums over the conditions of one pair are as fast as those along contiguous pairs."""


SQUARES_PAY, SQUARES_PAY_LOGITS = 6, 20
"""Pairs for each item from which squares of sums are faster for product: 6, and one more for each 20 logits."""


class PairScorer:
    """Scores pairs of items by a condition similarity module in evaluation mode.

    The score is p or its log-odds, as `PairSimilarity.score` and `log_odds`, equal to rounding in the module's
    precision. The weights are read when the scorer is built.

    >>> from pan_model.model.similarity import SimilarityConfig
    >>> similarity = ConditionSimilarity(SimilarityConfig(), embedding_dim=3, num_conditions=2).eval()
    >>> h, pairs = torch.randn(4, 3), torch.tensor([[0, 1], [3, 2]])
    >>> scores = PairScorer(similarity, log_odds=False).pairs(h, pairs)
    >>> torch.allclose(scores, similarity(h[pairs[:, 0]], h[pairs[:, 1]]).score)
    True
    """

    @torch.no_grad()
    def __init__(self, similarity: ConditionSimilarity, *, log_odds: bool) -> None:
        layers = (similarity.similarity, similarity.relevance)
        self.joint = similarity.joint
        self.log_odds = log_odds
        # The products of concat are taken once an item.
        self._precision = Precision.FLOAT32 if similarity.joint is Joint.CONCAT else similarity.precision
        self._weight = as_operand(torch.cat([layer.weight for layer in layers]), self._precision)
        self._bias = torch.cat([layer.bias for layer in layers])

    @torch.no_grad()
    def pairs(
        self, embeddings: Float[Tensor, "N E"], pairs: Int[Tensor, "P 2"], *, chunk_size: int | None = None
    ) -> Float[Tensor, "P"]:
        """Score P pairs, given as rows of `embeddings`; it pays if most rows occur in a pair.

        Args:
            embeddings: The embeddings of N items.
            pairs: The two items of each pair.
            chunk_size: Pairs that are scored at a time; by default chosen by device and sizes.
        """
        scores = embeddings.new_empty(len(pairs))
        size = chunk_size or self._chunk_size(embeddings)
        chunks = list(zip(scores.split(size), pairs.split(size), strict=True))
        logits_of = self._logits(embeddings, size, len(pairs))
        streams = num_streams(embeddings.device, len(chunks))

        @torch.inference_mode()
        def score(first: int) -> None:
            for into, chunk in chunks[first::streams]:
                self._reduce_rows(logits_of(chunk), into)

        run_in_parallel([partial(score, first) for first in range(streams)])
        return scores

    @torch.no_grad()
    def logits(
        self, embeddings: Float[Tensor, "N E"], pairs: Int[Tensor, "P 2"]
    ) -> tuple[Float[Tensor, "P M"], Float[Tensor, "P M"]]:
        """Return the logits of similarity and of relevance of P pairs, given as rows of `embeddings`."""
        logits = embeddings.new_empty(len(pairs), len(self._weight))
        size = self._chunk_size(embeddings)
        logits_of = self._logits(embeddings, size, len(pairs))
        for into, chunk in zip(logits.split(size), pairs.split(size), strict=True):
            into.copy_(logits_of(chunk))
        similarity, relevance = logits.chunk(2, dim=1)
        return similarity, relevance

    @torch.no_grad()
    def mean_relevance(self, embeddings: Float[Tensor, "N E"], pairs: Int[Tensor, "P 2"]) -> Float[Tensor, "M"]:
        """Return the mean relevance of each condition over P pairs, given as rows of `embeddings`, in float64."""
        size = self._chunk_size(embeddings)
        logits_of = self._logits(embeddings, size, len(pairs))
        sums = torch.zeros(len(self._weight) // 2, dtype=torch.float64, device=embeddings.device)
        for chunk in pairs.split(size):
            relevance = logits_of(chunk).chunk(2, dim=1)[1]
            sums += torch.softmax(relevance, dim=1).sum(dim=0)
        return sums / len(pairs)

    def _chunk_size(self, embeddings: Float[Tensor, "N E"]) -> int:
        """Return the number of pairs that a thread scores at a time."""
        if self.joint is Joint.CONCAT:
            return _pairs_at_once(embeddings, LOGIT_VALUES, len(self._weight), num_threads=1)
        return _pairs_at_once(embeddings, JOINT_VALUES, embeddings.shape[1], num_threads=1)

    def _logits(self, embeddings: Float[Tensor, "N E"], chunk_size: int, num_pairs: int) -> Callable[[Tensor], Tensor]:
        """Return a function from the pairs (P, 2) of a chunk to their logits (P, 2M).

        product of many pairs: u v = ((u + v)^2 - u^2 - v^2) / 2, in which the sum of two rows is gathered in one pass,
        and the products of the weights with u^2 are taken once an item. The difference needs float32.
        """
        sum_rows = SumOfRows(chunk_size, embeddings.device)
        many_pairs = num_pairs > len(embeddings) * (SQUARES_PAY + len(self._weight) / SQUARES_PAY_LOGITS)
        match self.joint:
            case Joint.PRODUCT if many_pairs and self._precision is Precision.FLOAT32:
                rows, half = joint_rows(embeddings, self.joint), self._weight.T / 2
                of_items = torch.addmm(self._bias / 2, rows.square(), half, alpha=-1)
                return lambda pairs: sum_rows(of_items, pairs).addmm_(sum_rows(rows, pairs).square_(), half)
            case Joint.ABSDIFF | Joint.PRODUCT:
                joint = PairJoint(self.left(embeddings), self.joint, chunk_size)
                if len(self._weight) <= FEW_LOGITS:
                    weight = self._weight.T.contiguous()
                    return lambda pairs: self._add_bias(joint(pairs), weight)
                bias = self._bias[:, None]
                return lambda pairs: multiply(self._weight, joint(pairs).T).to(bias.dtype).add_(bias).T
            case Joint.CONCAT:
                of_items = torch.cat([self.left(embeddings), self.right(embeddings)])
                second = torch.tensor([0, len(embeddings)], device=embeddings.device)
                return lambda pairs: sum_rows(of_items, pairs + second)

    @torch.no_grad()
    def left(self, embeddings: Float[Tensor, "N E"]) -> Float[Tensor, "N R"]:
        """Return what items contribute to the pairs in which they come first, the first argument of `block`."""
        if self.joint is not Joint.CONCAT:
            return as_operand(joint_rows(embeddings, self.joint), self._precision)
        return torch.addmm(self._bias, embeddings, self._weight[:, : embeddings.shape[1]].T)

    @torch.no_grad()
    def right(self, embeddings: Float[Tensor, "N E"]) -> Float[Tensor, "N R"]:
        """Return what items contribute to the pairs in which they come second, the second argument of `block`."""
        if self.joint is not Joint.CONCAT:
            return as_operand(joint_rows(embeddings, self.joint), self._precision)
        return embeddings @ self._weight[:, embeddings.shape[1] :].T

    @torch.no_grad()
    def block(self, left: Float[Tensor, "Q R"], right: Float[Tensor, "G R"]) -> Float[Tensor, "Q G"]:
        """Score every item of one list with every item of another.

        Args:
            left: The result of `left` for Q items.
            right: The result of `right` for G items.
        """
        scores = self._bias.new_empty(len(left), len(right))
        if scores.numel() == 0:
            return scores
        match self.joint:
            case Joint.ABSDIFF:
                self._block_of_joints(left, right, scores)
            case Joint.PRODUCT if max(scores.shape) < len(self._weight):
                self._block_of_joints(left, right, scores)
            case Joint.PRODUCT if len(left) > len(right):
                scores = self.block(right, left).T
            case Joint.PRODUCT:
                self._block_of_weights(left, right, scores)
            case Joint.CONCAT:
                self._block_of_sums(left, right, scores)
        return scores

    @torch.no_grad()
    def blocks(self, left: Float[Tensor, "B Q R"], right: Float[Tensor, "B G R"]) -> Float[Tensor, "B Q G"]:
        """Score, in each of B small blocks, every item of one list with every item of another.

        Args:
            left: The results of `left` for the Q items of each block.
            right: The results of `right` for the G items of each block.
        """
        num_items, width = left.shape[1:]
        scores = self._bias.new_empty(*left.shape[:2], right.shape[1])
        values = LOGIT_VALUES if self.joint is Joint.CONCAT else JOINT_VALUES
        size = max(1, _pairs_at_once(left, values, width) // max(1, num_items * right.shape[1]))
        weight = self._weight.T.contiguous()
        combine = {Joint.ABSDIFF: torch.sub, Joint.PRODUCT: torch.mul, Joint.CONCAT: torch.add}[self.joint]
        for queries, items, into in zip(left.split(size), right.split(size), scores.split(size), strict=True):
            joints = combine(queries[:, :, None], items[:, None]).view(-1, width)
            if self.joint is Joint.ABSDIFF:
                joints.abs_()
            self._reduce_rows(joints if self.joint is Joint.CONCAT else self._add_bias(joints, weight), into.view(-1))
        return scores

    def _block_of_joints(
        self, left: Float[Tensor, "Q E"], right: Float[Tensor, "G E"], scores: Float[Tensor, "Q G"]
    ) -> None:
        """Form the joint representations of tiles in one buffer."""
        most = _pairs_at_once(left, JOINT_VALUES, left.shape[1])
        height = min(QUERIES_PER_TILE, len(left))
        width = min(most // height, len(right))
        joints = left.new_empty(height * width * left.shape[1])
        weight = self._weight.T.contiguous()
        combine = torch.sub if self.joint is Joint.ABSDIFF else torch.mul
        for items, strip in zip(right.split(width), scores.split(width, dim=1), strict=True):
            for queries, tile in zip(left.split(height), strip.split(height), strict=True):
                shape = (*tile.shape, left.shape[1])
                joint = combine(queries[:, None], items[None], out=joints[: tile.numel() * left.shape[1]].view(shape))
                if self.joint is Joint.ABSDIFF:
                    joint.abs_()
                of_pairs = scores.new_empty(tile.numel())
                self._reduce_rows(self._add_bias(joint.view(-1, left.shape[1]), weight), of_pairs)
                tile.copy_(of_pairs.view(tile.shape))

    def _block_of_weights(
        self, left: Float[Tensor, "Q E"], right: Float[Tensor, "G E"], scores: Float[Tensor, "Q G"]
    ) -> None:
        """Multiply the weights by an item instead of the items of the other list: w' (u * v) = (w * u)' v."""
        columns = len(self._weight)
        height = max(1, _values(left, JOINT_VALUES) // (columns * left.shape[1]))
        width = max(MIN_PAIRS, _values(left, LOGIT_VALUES) // (columns * height))
        for queries, strip in zip(left.split(height), scores.split(height), strict=True):
            weights = (self._weight[None] * queries[:, None]).view(-1, left.shape[1])
            for items, tile in zip(right.split(width), strip.split(width, dim=1), strict=True):
                products = multiply(weights, items.T).to(scores.dtype)
                logits = products.view(len(queries), columns, -1).add_(self._bias[:, None])
                self._reduce(logits, tile)

    def _block_of_sums(
        self, left: Float[Tensor, "Q K"], right: Float[Tensor, "G K"], scores: Float[Tensor, "Q G"]
    ) -> None:
        """Add the logits of both items."""
        columns = len(self._weight)
        width = min(MAX_PAIRS[left.device.type], len(right))
        height = max(1, _values(left, LOGIT_VALUES) // (columns * width))
        for items, strip in zip(right.split(width), scores.split(width, dim=1), strict=True):
            of_items = items.T.contiguous()
            for queries, tile in zip(left.split(height), strip.split(height), strict=True):
                self._reduce(queries[:, :, None] + of_items, tile)

    def _add_bias(self, joints: Float[Tensor, "P J"], weight: Float[Tensor, "J K"]) -> Float[Tensor, "P K"]:
        """Return the logits of pairs from their joint representations and the transposed weights."""
        if joints.dtype == self._bias.dtype:
            return torch.addmm(self._bias, joints, weight)
        return multiply(joints, weight).to(self._bias.dtype).add_(self._bias)

    def _reduce_rows(self, logits: Float[Tensor, "P K"], scores: Float[Tensor, "P"]) -> None:
        """Write the scores of P pairs; few conditions are laid out so that pairs are contiguous."""
        by_condition = logits.T if logits.shape[1] >= WIDE else logits.T.contiguous()
        self._reduce(by_condition[None], scores[None])

    def _reduce(self, logits: Float[Tensor, "B K C"], scores: Float[Tensor, "B C"]) -> None:
        """Write the scores of B blocks of C pairs from their logits, those of similarity before those of relevance."""
        similarity, relevance = logits.chunk(2, dim=1)
        weights = torch.sub(relevance, relevance.amax(dim=1, keepdim=True)).exp_()
        if not self.log_odds:
            total = weights.sum(dim=1)
            torch.div(weights.mul_(torch.sigmoid(similarity)).sum(dim=1), total, out=scores).clamp_(max=1)
            return
        positive = torch.sigmoid(similarity).mul_(weights).sum(dim=1)
        negative = torch.neg(similarity).sigmoid_().mul_(weights).sum(dim=1)
        torch.sub(positive.log_(), negative.log_(), out=scores)
        extreme = (scores.abs() > UNDERFLOW).nonzero(as_tuple=True)
        if len(extreme[0]):
            block, pair = extreme
            of_pairs = similarity[block, :, pair], torch.log_softmax(relevance[block, :, pair], dim=1)
            scores[extreme] = PairSimilarity(*of_pairs).log_odds


def _threads(like: Tensor) -> int:
    """Return the threads that share the work of an operation on a tensor; a GPU counts as one."""
    return torch.get_num_threads() if like.device.type == "cpu" else 1


def _values(like: Tensor, values: dict[str, int]) -> int:
    return values[like.device.type] * _threads(like)


def _pairs_at_once(like: Tensor, values: dict[str, int], width: int, *, num_threads: int | None = None) -> int:
    threads = num_threads or _threads(like)
    return min(max(values[like.device.type] * threads // width, MIN_PAIRS), MAX_PAIRS[like.device.type] * threads)
