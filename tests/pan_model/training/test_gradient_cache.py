"""Gradient caching: the same outputs and the same gradient, in however many pieces."""

import pytest
import torch
from torch import Tensor, nn

from pan_model.training.gradient_cache import GradientCache

NUM_INPUTS = 7


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5)).double()


def loss_of_all(outputs: Tensor) -> Tensor:
    """A loss that no sum over items is: every output meets every other."""
    return torch.cdist(outputs + 0.1, outputs).tanh().square().mean() + outputs.std()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(NUM_INPUTS, 3, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 6, 7, 100])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_pieces_give_the_gradient_of_the_whole(images: Tensor, batch_size: int, scale: float):
    plain, cached = network(), network()
    outputs = plain(images)
    (scale * loss_of_all(outputs)).backward()
    cache = GradientCache(cached, images, batch_size)
    torch.testing.assert_close(cache.outputs, outputs, rtol=1e-12, atol=1e-12)
    loss_of_all(cache.outputs).backward()
    cache.backward(scale)
    for one, other in zip(cached.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)


def test_losses_that_come_in_pieces_add_up(images: Tensor):
    plain, cached = network(), network()
    loss_of_all(plain(images)).backward()
    cache = GradientCache(cached, images, 3)
    for share in (0.25, 0.75):
        (share * loss_of_all(cache.outputs)).backward()
    cache.backward()
    for one, other in zip(cached.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch_size", [3, 7])
def test_never_more_inputs_than_at_once_have_their_activations(images: Tensor, batch_size: int):
    seen: list[tuple[int, bool]] = []
    model = network()

    def noting(piece: Tensor) -> Tensor:
        seen.append((len(piece), torch.is_grad_enabled()))
        return model(piece)

    cache = GradientCache(noting, images, batch_size)
    cache.outputs.sum().backward()
    cache.backward()
    expected = [(3, False), (3, False), (1, False), (3, True), (3, True), (1, True)] if batch_size == 3 else [(7, True)]
    assert seen == expected


def test_without_a_gradient_nothing_is_handed_on(images: Tensor):
    model = network()
    GradientCache(model, images, 3).backward()
    assert all(weight.grad is None for weight in model.parameters())
