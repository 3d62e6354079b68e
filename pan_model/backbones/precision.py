"""Mixed precision: a backbone's arithmetic in 16 bits where that is faster, its weights and everything else in 32."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

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


class MixedPrecision:
    """Runs forward passes in fewer bits where that is faster, and keeps small gradients from vanishing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._dtype = fastest_precision(device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)

    def forward(self) -> AbstractContextManager[Any]:
        """A block in which torch chooses the precision of each operation."""
        return computing_in(self._dtype, self._device)

    def backward(self, loss: Tensor) -> None:
        """Add up the gradient of a loss."""
        self._scaler.scale(loss).backward()

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Take a step, unless a scaled gradient overflowed, and choose the next scale."""
        self._scaler.step(optimiser)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The scale of gradients; empty where they are not scaled."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with another's scale."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)
