import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pan_model.model.signed_power import STEEPEST_AT, signed_power


@given(value=st.floats(-100, 100), power=st.floats(0.1, 1))
def test_it_is_the_formula(value: float, power: float):
    features = torch.tensor([[value]])
    assert torch.equal(signed_power(features, power), features.sign() * features.abs() ** power)


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0])
def test_the_gradient_is_the_true_one_away_from_0(power: float):
    features = torch.tensor([[2.0, -0.5, 0.01, -0.002]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: signed_power(x, power), (features,), eps=1e-9, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1e-30, -1e-12, STEEPEST_AT, -STEEPEST_AT])
def test_near_0_the_gradient_is_finite_and_upward(value: float):
    features = torch.tensor([[value]], requires_grad=True)
    signed_power(features, 0.5).backward(torch.ones(1, 1))
    assert features.grad is not None
    assert features.grad.item() == pytest.approx(0.5 * STEEPEST_AT**-0.5)
