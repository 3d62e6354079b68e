"""On a CPU nothing is done in fewer bits; a scale is only there where float16 is."""

import pytest
import torch

from pan_model.training.backbone.precision import MixedPrecision


def step(precision: MixedPrecision, device: str) -> torch.Tensor:
    weight = torch.ones(4, 4, device=device, requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=0.5)
    with precision.forward():
        product = weight @ weight
    precision.backward(product.float().sum())
    precision.step(optimiser)
    return product


def test_cpu_computes_in_32_bits() -> None:
    precision = MixedPrecision(torch.device("cpu"))
    assert step(precision, "cpu").dtype == torch.float32
    assert precision.state_dict() == {}
    precision.load_state_dict({})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_computes_in_fewer() -> None:
    precision = MixedPrecision(torch.device("cuda"))
    assert step(precision, "cuda").dtype in (torch.bfloat16, torch.float16)
