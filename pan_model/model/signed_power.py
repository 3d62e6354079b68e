"""The power of a feature, sign(x) |x|^p, with a gradient that stays finite where features are 0."""

from typing import Any

import torch
from torch import Tensor

from pan_model.shapes import Float

STEEPEST_AT = 1e-3
"""Nearer to 0 than this the slope is the one here: the true one, p |x|^(p - 1), is infinite at 0, where rectified
features often are."""


class _SignedPower(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, power: float) -> Tensor:
        ctx.save_for_backward(features)
        ctx.power = power
        return features.sign() * features.abs() ** power

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (features,) = ctx.saved_tensors
        return gradients[0] * ctx.power * features.abs().clamp(min=STEEPEST_AT) ** (ctx.power - 1), None


def signed_power(features: Float[Tensor, "N D"], power: float) -> Float[Tensor, "N D"]:
    """sign(x) |x|^power of every feature (Tukey's ladder).

    >>> signed_power(torch.tensor([[4.0, -9.0, 0.0]]), 0.5).tolist()
    [[2.0, -3.0, 0.0]]
    """
    if power == 1:
        return features
    return _SignedPower.apply(features, power)
