"""Gradient caching: the exact gradient of a loss over many outputs of a network whose activations do not all fit."""

from collections.abc import Callable

import torch
from torch import Tensor

from pan_model.shapes import Float


class GradientCache:
    """The outputs (U, D) of a network for the inputs of one step, at most `batch_size` of them with their activations.

    A loss of pairs cannot be added up over pieces of the items. So more inputs than `batch_size` go through the network
    twice: first without a gradient, for the outputs; then, when the loss of the whole step has given the gradient with
    respect to the outputs, piece by piece with one, and each piece is fed its part (Gao et al., RepL4NLP 2021). The
    network must give the same outputs both times: no dropout, no statistics of a batch.
    """

    def __init__(
        self, network: Callable[[Tensor], Float[Tensor, "u D"]], inputs: Float[Tensor, "U ..."], batch_size: int
    ) -> None:
        self._network = network
        self._inputs = inputs.split(batch_size)
        self._whole = network(inputs) if len(self._inputs) == 1 else None
        self.outputs: Float[Tensor, "U D"] = self._first_pass() if self._whole is None else self._whole.detach()
        self.outputs.requires_grad_()

    def backward(self, scale: float = 1.0) -> None:
        """Hand `scale` times the gradient that has reached the outputs on to the network's weights."""
        if self.outputs.grad is None:
            return
        gradient = self.outputs.grad * scale
        if self._whole is not None:
            self._whole.backward(gradient)
            return
        for piece, of_piece in zip(self._inputs, gradient.split([len(piece) for piece in self._inputs]), strict=True):
            self._network(piece).backward(of_piece)

    @torch.no_grad()
    def _first_pass(self) -> Float[Tensor, "U D"]:
        return torch.cat([self._network(piece) for piece in self._inputs])
