"""Mixed precision: the backbone's arithmetic in 16 bits where that is faster, its weights and all else in 32."""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from pan_model.shapes import Float


def fastest_precision(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU that computes with it, float16 on another GPU, float32 elsewhere.

    >>> fastest_precision(torch.device("cpu"))
    torch.float32
    """
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def computing_in(precision: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """A block in which torch computes what it safely can in this precision."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, dtype=precision)


def gradient_scale(gradient: Float[Tensor, "U D"], precision: torch.dtype) -> float:
    """The power of two by which a gradient is multiplied on its way through a network, so that it is not lost.

    float16 has no numbers below 6e-8: the largest entry is brought to 1..2. The others have float32's range, and the
    scale is 1, as for a gradient of nothing but zeros, or one that is no number. It needs no state, unlike a scale that
    is found by trial.

    >>> gradient_scale(torch.tensor([[0.001, -0.25]]), torch.float16)
    4.0
    """
    largest = float(gradient.abs().max()) if precision == torch.float16 and gradient.numel() else 0.0
    if not (math.isfinite(largest) and largest > 0):
        return 1.0
    return 2.0 ** -math.floor(math.log2(largest))
