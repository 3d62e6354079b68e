"""Mixed precision: the type that is chosen, and gradients that do not vanish."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pan_model.backbones.precision import MixedPrecision, computing_in, fastest_precision, gradient_scale

CPU = torch.device("cpu")


def test_a_cpu_computes_in_full_precision():
    assert fastest_precision(CPU) == torch.float32
    with computing_in(torch.float32, CPU):
        assert not torch.is_autocast_enabled("cpu")


def test_a_block_computes_in_the_precision_asked_for_and_leaves_weights_alone():
    layer = torch.nn.Linear(3, 2)
    with computing_in(torch.bfloat16, CPU):
        assert layer(torch.zeros(1, 3)).dtype == torch.bfloat16
    assert layer.weight.dtype == torch.float32
    assert layer(torch.zeros(1, 3)).dtype == torch.float32


@given(largest=st.floats(1e-30, 1e30))
def test_the_scale_is_a_power_of_two_that_brings_the_largest_entry_to_one_or_two(largest: float):
    gradient = torch.tensor([[0.0, -largest, largest / 3]])
    scale = gradient_scale(gradient, torch.float16)
    assert math.frexp(scale)[0] == 0.5
    assert 1 <= scale * float(gradient.abs().max()) < 2


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_precisions_of_the_whole_range_need_no_scale(precision: torch.dtype):
    assert gradient_scale(torch.tensor([[1e-20]]), precision) == 1


@pytest.mark.parametrize("values", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_what_cannot_be_scaled_is_left_as_it_is(values: list[float]):
    assert gradient_scale(torch.tensor([values]), torch.float16) == 1


def test_no_gradient_at_all_needs_no_scale():
    assert gradient_scale(torch.zeros(0, 4), torch.float16) == 1


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
