"""Mixed precision: bfloat16 on GPUs that have it, float16 with scaled gradients on others, neither on a CPU."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from pan_model.backbones.precision import computing_in, fastest_precision


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
