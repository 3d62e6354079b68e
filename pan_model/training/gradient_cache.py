"""Gradient caching: the exact gradient of a loss over more outputs of a network than its activations fit in memory."""

from collections.abc import Callable

import torch
from torch import Tensor

from pan_model.shapes import Float


class GradientCache:
    """The outputs (U, D) of a network for the inputs of one step, at most `batch_size` of them with activations.

    The loss of pairs is not a sum over parts of the items. More inputs than `batch_size` therefore pass through the
    network twice: first without gradients, for the outputs; then, once the loss has given the gradient with respect to
    the outputs, batch by batch with gradients (Gao et al., RepL4NLP 2021). The network must return the same outputs
    both times: no dropout, no batch statistics.
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
        """Backpropagate `scale` times the outputs' gradient to the network's weights."""
        if self.outputs.grad is None:
            return
        gradient = self.outputs.grad * scale
        if self._whole is not None:
            self._whole.backward(gradient)
            return
        for batch, batch_gradient in zip(
            self._inputs, gradient.split([len(batch) for batch in self._inputs]), strict=True
        ):
            self._network(batch).backward(batch_gradient)

    @torch.no_grad()
    def _first_pass(self) -> Float[Tensor, "U D"]:
        return torch.cat([self._network(batch) for batch in self._inputs])
