"""Mixed precision: bfloat16 on GPUs that have it, float16 with scaled gradients on others, neither on a CPU."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor


class MixedPrecision:
    """Runs forward passes in fewer bits where that is faster, and keeps small gradients from vanishing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._dtype = torch.bfloat16 if _has_bfloat16(device) else torch.float16
        scaled = self.enabled and self._dtype is torch.float16
        self._scaler = torch.amp.GradScaler(device.type, enabled=scaled)

    @property
    def enabled(self) -> bool:
        """Whether anything is done in fewer than 32 bits."""
        return self._device.type == "cuda"

    def forward(self) -> AbstractContextManager[Any]:
        """A block in which torch chooses the precision of each operation."""
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=self.enabled)

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


def _has_bfloat16(device: torch.device) -> bool:
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
