"""The ProxyNCA++ loss against that of pytorch-metric-learning, and against its formula on vectors placed by hand."""

import math
import warnings

import pytest
import torch

from pan_model.model.encoders.proxynca import proxynca_loss

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the library's own imports warn
    from pytorch_metric_learning.losses import ProxyNCALoss


@pytest.mark.parametrize("temperature", [1 / 9, 0.5, 2.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_is_that_of_pytorch_metric_learning(temperature: float, seed: int):
    """Where the two coincide: squared distances of unit vectors, the positive's proxy in the denominator, the mean."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(12, 5, generator=generator)
    classes = torch.randint(4, (12,), generator=generator)
    theirs = ProxyNCALoss(num_classes=4, embedding_size=5, softmax_scale=1 / temperature)
    theirs.distance.power = 2
    ours = embeddings.clone().requires_grad_()
    also = embeddings.clone().requires_grad_()
    loss, expected = proxynca_loss(ours, theirs.proxies.detach(), classes, temperature), theirs(also, classes)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, also.grad)


def test_the_loss_is_its_formula():
    """One item beside its proxy and at a right angle to the two others: squared distances 0, 2 and 2."""
    proxies = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    loss = proxynca_loss(torch.tensor([[5.0, 0.0, 0.0]]), proxies, torch.tensor([0]), 0.5)
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-4)), rel=1e-5)
