"""The joint representations of pairs that are given by index, gathered from rows that are computed once an item.

`joint_representation` in `similarity.py` is the straight form of the same. It reads two (P, E) tensors; this module
reads the rows of the items, a chunk of pairs at a time. A chunk's joint representation should fit in the CPU's cache:
writing it for all P pairs costs more than many of the products with the weights.
"""

import torch
from torch import Tensor

from pan_model.model.similarity import Joint
from pan_model.shapes import Float, Int

NORM_EPSILON = 1e-12
"""The smallest norm that an embedding is divided by, as in `torch.nn.functional.normalize`."""


GATHERED = 64
"""Rows of second items of products that are gathered at a time on a CPU, so that they stay in its cache."""

FEW_LOGITS = 64
"""Logits up to which the product with the pairs as rows is faster, and their transposition costs little."""


def joint_rows(embeddings: Float[Tensor, "N E"], joint: Joint) -> Float[Tensor, "N E"]:
    """Return what an item contributes to the joint representations of its pairs.

    This is the embedding or, for product, the embedding with norm sqrt(E): the product of two has the scale of
    `ConditionSimilarity.represent`. Differentiable.
    """
    if joint is not Joint.PRODUCT:
        return embeddings
    norms = embeddings.norm(dim=1, keepdim=True).clamp_min(NORM_EPSILON)
    return embeddings * (embeddings.shape[1] ** 0.5 / norms)  # one array as large as the embeddings, not two


class SumOfRows:
    """Sums of two rows of a table, gathered in one pass: bags of two.

    >>> SumOfRows(512, torch.device("cpu"))(
    ...     torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([[0, 2], [1, 1]])
    ... ).tolist()
    [[6.0], [4.0]]
    """

    def __init__(self, chunk_size: int, device: torch.device) -> None:
        """Prepare chunks of at most `chunk_size` pairs."""
        self._offsets = torch.arange(0, 2 * chunk_size, 2, device=device)

    def __call__(self, table: Float[Tensor, "N K"], pairs: Int[Tensor, "P 2"]) -> Float[Tensor, "P K"]:
        """Return the sums, a new tensor."""
        return torch.embedding_bag(table, pairs.reshape(-1), self._offsets[: len(pairs)])[0]


class PairDifference:
    """h_i - h_j of chunks of pairs, in one pass over the rows of the items: bags of two with weights 1 and -1.

    >>> difference = PairDifference(torch.tensor([[1.0, 2.0], [3.0, 1.0]]), 512)
    >>> difference(torch.tensor([[0, 1]])).tolist()
    [[-2.0, 1.0]]
    """

    def __init__(self, rows: Float[Tensor, "N E"], chunk_size: int) -> None:
        """Prepare chunks of at most `chunk_size` pairs."""
        self._rows = rows.detach()
        self._offsets = torch.arange(0, 2 * chunk_size, 2, device=rows.device)
        self._signs = torch.tensor([1.0, -1.0], dtype=rows.dtype, device=rows.device).repeat(chunk_size)

    @torch.no_grad()
    def __call__(self, pairs: Int[Tensor, "P 2"]) -> Float[Tensor, "P E"]:
        """Return the differences of a chunk, a new tensor. Contiguous pairs are fastest."""
        size = len(pairs)
        arguments = (pairs.reshape(-1), self._offsets[:size], False, 0, False, self._signs[: 2 * size])
        return torch.embedding_bag(self._rows, *arguments)[0]


class PairJoint:
    """The joint representations of chunks of pairs, scaled as in `ConditionSimilarity.represent`.

    >>> rows = joint_rows(torch.tensor([[1.0, 2.0], [3.0, 1.0]]), Joint.ABSDIFF)
    >>> PairJoint(rows, Joint.ABSDIFF, 512)(torch.tensor([[0, 1]])).tolist()
    [[2.0, 1.0]]
    """

    def __init__(self, rows: Float[Tensor, "N E"], joint: Joint, chunk_size: int) -> None:
        """Prepare chunks of at most `chunk_size` pairs; `rows` are the `joint_rows` of the items."""
        self._rows = rows.detach()
        self._joint = joint
        self._difference = PairDifference(rows, chunk_size)
        self._tile = GATHERED if rows.device.type == "cpu" else max(1, chunk_size)

    @torch.no_grad()
    def __call__(self, pairs: Int[Tensor, "P 2"]) -> Float[Tensor, "P J"]:
        """Return the joint representations of a chunk, a new tensor that the caller may overwrite."""
        match self._joint:
            case Joint.ABSDIFF:
                return self._difference(pairs).abs_()
            case Joint.PRODUCT:
                products = self._rows.index_select(0, pairs[:, 0])
                for into, second in zip(products.split(self._tile), pairs[:, 1].split(self._tile), strict=True):
                    into.mul_(self._rows.index_select(0, second))
                return products
            case Joint.CONCAT:
                return self._rows.index_select(0, pairs.reshape(-1)).view(len(pairs), 2 * self._rows.shape[1])
