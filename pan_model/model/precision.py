"""The precision of the products over pairs: those of the joint representations of pairs and the stacked W1 and W2.

With bfloat16 the two operands of such a product are rounded to bfloat16. A GPU returns float32; torch's products on a
CPU add up in float32 and round their result once to bfloat16. Parameters, optimiser, losses and softmax keep the
module's type, and so do the products of `concat`, which are taken once an item.

The choice can be read without torch, which is imported where products are computed.
"""

import time
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Precision(StrEnum):
    """The type of the operands of products over pairs."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def as_operand(values: "Tensor", precision: Precision) -> "Tensor":
    """Return values in the type that products over pairs take: bfloat16, or as they are.

    >>> import torch
    >>> as_operand(torch.tensor([1.001]), Precision.BFLOAT16)
    tensor([1.], dtype=torch.bfloat16)
    """
    return values.bfloat16() if precision is Precision.BFLOAT16 else values


def multiply(one: "Tensor", other: "Tensor") -> "Tensor":
    """Return the product of two matrices: float32 of operands in bfloat16 on a GPU, else of the operands' type."""
    import torch

    if one.is_cuda and one.dtype == torch.bfloat16:
        return torch.mm(one, other, out_dtype=torch.float32)
    return torch.mm(one, other)


def bfloat16_slowdown() -> float:
    """Measure how many times as long as in float32 a product in bfloat16 takes on this machine's CPU.

    CPUs without instructions for bfloat16 emulate it. It takes some hundredths of a second.
    """
    import torch

    joints, weights = torch.ones(512, 1024), torch.ones(1024, 256)
    fastest: list[float] = []
    for precision in (Precision.BFLOAT16, Precision.FLOAT32):
        operands = [as_operand(values, precision) for values in (joints, weights)]
        seconds: list[float] = []
        for _ in range(4):  # the first one chooses the instructions
            start = time.perf_counter()
            multiply(*operands)
            seconds.append(time.perf_counter() - start)
        fastest.append(min(seconds))
    return fastest[0] / fastest[1]
