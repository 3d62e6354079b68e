"""Mixed precision: the backbone computes in 16 bits where that is faster. Weights and all other values have 32 bits."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from pan_model.shapes import Float


def fastest_precision(device: torch.device) -> torch.dtype:
    """Return bfloat16 on a GPU that supports it, float16 on other GPUs, float32 elsewhere.

    >>> fastest_precision(torch.device("cpu"))
    torch.float32
    """
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def computing_in(precision: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which torch uses this precision for the operations that allow it."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, dtype=precision)


def gradient_scale(gradient: Float[Tensor, "U D"], precision: torch.dtype) -> float:
    """Return a power of two to multiply a gradient by before it is propagated through a network.

    float16 has no numbers below 6e-8: the scale brings the largest entry to 1..2. Other types have float32's range, and
    the scale is 1. It is also 1 if all entries are zero or any is not finite. Unlike `MixedPrecision`, which adapts its
    scale from step to step, it has no state.

    >>> gradient_scale(torch.tensor([[0.001, -0.25]]), torch.float16)
    4.0
    """
    largest = float(gradient.abs().max()) if precision == torch.float16 and gradient.numel() else 0.0
    if not (math.isfinite(largest) and largest > 0):
        return 1.0
    return 2.0 ** -math.floor(math.log2(largest))


class MixedPrecision:
    """Mixed precision for a training loop: autocast for the forward pass, scaled gradients for float16."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._dtype = fastest_precision(device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype == torch.float16)

    def forward(self) -> AbstractContextManager[Any]:
        """Return a context in which torch chooses the precision of each operation."""
        return computing_in(self._dtype, self._device)

    def backward(self, loss: Tensor) -> None:
        """Add the (scaled) gradient of a loss to the weights' gradients."""
        self._scaler.scale(loss).backward()

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Take an optimiser step unless a scaled gradient overflowed, then update the scale."""
        self._scaler.step(optimiser)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the gradient scale; empty if gradients are not scaled."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a gradient scale."""
        if state and self._scaler.is_enabled():
            self._scaler.load_state_dict(state)
