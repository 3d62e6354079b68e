import io
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pan_model.errors import UserError
from pan_model.model.encoders.siamese import Projection, SiameseConfig, SiameseEncoder
from pan_model.training.optimisation import Optimisation, Schedule, TrainConfig, share_of_learning_rate

FIRST = [1.0, -2.0, 0.5]


def config(**changes: Any) -> TrainConfig:
    values: dict[str, Any] = {"learning_rate": 0.1, "max_epochs": 3, "seed": 0} | changes
    return TrainConfig(**values)


def weight_at(values: list[float]) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def optimise(weights: list[nn.Parameter], train: TrainConfig, **group: Any) -> Optimisation:
    return Optimisation([{"params": weights, "lr": train.learning_rate, **group}], train, steps_per_epoch=4)


def step(optimisation: Optimisation, weight: nn.Parameter, gradient: Tensor) -> None:
    optimisation.zero_grad()
    weight.grad = gradient.clone()
    optimisation.step()


def gradients(num_steps: int) -> Tensor:
    return torch.randn(num_steps, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def slow_run(train: TrainConfig, num_steps: int, steps_in_all: int) -> list[float]:
    """Adam (Kingma and Ba, 2015) with decoupled decay towards 0 and towards the first weights, number by number."""
    ends: list[float] = []
    for place, first in enumerate(FIRST):
        weight, m, v = first, 0.0, 0.0
        for number, gradient in enumerate(gradients(num_steps)[:, place].tolist()):
            cosine = (1 + math.cos(math.pi * number / steps_in_all)) / 2
            rate = train.learning_rate * (cosine if train.schedule is Schedule.COSINE else 1)
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            corrected = m / (1 - 0.9 ** (number + 1)), math.sqrt(v / (1 - 0.999 ** (number + 1)))
            weight = weight * (1 - rate * train.weight_decay) - rate * corrected[0] / (corrected[1] + 1e-8)
            weight += min(1, rate * train.start_decay) * (first - weight)
        ends.append(weight)
    return ends


@pytest.mark.parametrize("schedule", Schedule)
@pytest.mark.parametrize(
    "decays", [{}, {"weight_decay": 0.3}, {"start_decay": 2.0}, {"weight_decay": 0.3, "start_decay": 2.0}]
)
def test_steps_are_those_of_adam_with_both_decays_and_the_schedule(schedule: Schedule, decays: dict[str, float]):
    train = config(schedule=schedule, **decays)
    weight = weight_at(FIRST)
    optimisation = optimise([weight], train)
    for gradient in gradients(7):
        step(optimisation, weight, gradient)
    assert weight.tolist() == pytest.approx(slow_run(train, 7, 3 * 4), rel=1e-9)


@given(start_decay=st.floats(0, 30), num_steps=st.integers(1, 12))
def test_without_a_gradient_start_decay_closes_a_share_of_the_way_back_each_step(start_decay: float, num_steps: int):
    weight = weight_at(FIRST)
    optimisation = optimise([weight], config(start_decay=start_decay))
    weight.data += 4
    for _ in range(num_steps):
        step(optimisation, weight, torch.zeros(3, dtype=torch.float64))
    left = (1 - min(1, 0.1 * start_decay)) ** num_steps
    assert weight.tolist() == pytest.approx([first + 4 * left for first in FIRST], abs=1e-9)


def test_start_decay_of_a_group_is_its_own():
    moved, held = weight_at(FIRST), weight_at(FIRST)
    train = config(start_decay=10.0)
    groups: list[dict[str, Any]] = [{"params": [moved], "start_decay": 0.0}, {"params": [held]}]
    optimisation = Optimisation(groups, train, steps_per_epoch=1)
    for weight in (moved, held):
        weight.grad = torch.ones(3, dtype=torch.float64)
    optimisation.step()
    assert moved.tolist() == pytest.approx([first - 0.1 for first in FIRST])
    assert held.tolist() == FIRST  # pulled back all the way


def test_weight_decay_leads_a_residual_projection_back_to_the_features():
    torch.manual_seed(0)
    encoder = SiameseConfig(projection=Projection.RESIDUAL).build(feature_dim=6, num_classes=2)
    assert isinstance(encoder, SiameseEncoder)
    assert encoder.projection is not None
    features = torch.randn(5, 6)
    assert torch.equal(encoder(features), features)
    nn.init.normal_(encoder.projection.weight)
    far = (encoder(features) - features).norm().item()
    train = config(weight_decay=1.0)
    optimisation = Optimisation(encoder.parameter_groups(train.learning_rate), train, steps_per_epoch=50)
    for _ in range(50):
        encoder.projection.weight.grad = torch.zeros_like(encoder.projection.weight)
        optimisation.step()
    assert (encoder(features) - features).norm().item() == pytest.approx(0.9**50 * far, rel=1e-3)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule.CONSTANT, [0.1] * 12 + [0.1]),
        (Schedule.COSINE, [0.1 * math.cos(math.pi * number / 24) ** 2 for number in range(12)] + [0.0]),
    ],
)
def test_each_step_s_learning_rate_is_the_schedule_s(schedule: Schedule, expected: list[float]):
    """cos^2 (x / 2) = (1 + cos x) / 2; after 3 epochs of 4 steps all is done."""
    slow, fast = weight_at([0.0]), weight_at([0.0])
    train = config(schedule=schedule)
    groups: list[dict[str, Any]] = [{"params": [slow], "lr": 0.1}, {"params": [fast], "lr": 3.0}]
    optimisation = Optimisation(groups, train, steps_per_epoch=4)
    rates: list[list[float]] = []
    for _ in range(13):
        rates.append([group["lr"] for group in optimisation.state_dict()["adam"]["param_groups"]])
        optimisation.step()
    assert [of_slow for of_slow, _ in rates] == pytest.approx(expected, abs=1e-12)
    assert [of_fast for _, of_fast in rates] == pytest.approx([30 * rate for rate in expected], abs=1e-12)


@given(done=st.floats(0, 5))
def test_the_learning_rate_s_share_lies_between_none_and_all(done: float):
    assert share_of_learning_rate(Schedule.CONSTANT, done) == 1
    assert 0 <= share_of_learning_rate(Schedule.COSINE, done) <= 1
    if done >= 1:
        assert share_of_learning_rate(Schedule.COSINE, done) == 0


def test_an_optimisation_goes_on_after_another_s_step_bit_for_bit():
    train = config(schedule=Schedule.COSINE, start_decay=2.0, weight_decay=0.1)
    whole, first, second = weight_at(FIRST), weight_at(FIRST), weight_at(FIRST)
    uninterrupted, interrupted = optimise([whole], train), optimise([first], train)
    for gradient in gradients(9):
        step(uninterrupted, whole, gradient)
    for gradient in gradients(9)[:5]:
        step(interrupted, first, gradient)
    file = io.BytesIO()
    torch.save(interrupted.state_dict(), file)
    file.seek(0)
    resumed = optimise([second], train)  # made at the first weights, as the interrupted one was
    second.data.copy_(first.data)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for gradient in gradients(9)[5:]:
        step(resumed, second, gradient)
    assert torch.equal(second, whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({"learning_rate": rate}, f"learning_rate must be a finite number above 0, got {rate}")
            for rate in (0.0, -1.0, math.nan, math.inf)
        ),
        *(
            ({name: decay}, f"{name} must be a finite number of at least 0, got {decay}")
            for name in ("weight_decay", "start_decay")
            for decay in (-0.1, math.nan, math.inf)
        ),
        *(
            ({"feature_dropout": share}, rf"feature_dropout must lie in \[0, 1\), got {share}")
            for share in (-0.1, 1.0, math.nan)
        ),
        ({"patience": -1}, r"patience must be 0 \(no early stopping\) or more epochs, got -1"),
        ({"max_epochs": 0}, "max_epochs must be at least 1, got 0"),
        ({"seed": -1}, r"seed must be at least 0 and below 2\*\*63, got -1"),
        ({"seed": 2**63}, r"seed must be at least 0 and below 2\*\*63, got 9223372036854775808"),
    ],
)
def test_impossible_training_is_refused_by_name(changes: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        config(**changes)


@pytest.mark.parametrize("schedule", Schedule)
def test_steps_equal_those_of_torch_to_the_last_bit(schedule: Schedule):
    train = config(schedule=schedule, weight_decay=0.3)
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(12, 7, generator=generator)
    ours, theirs = nn.Parameter(torch.ones(7)), nn.Parameter(torch.ones(7))
    optimisation = optimise([ours], train)
    adam = torch.optim.AdamW([theirs], lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
    rate = torch.optim.lr_scheduler.LambdaLR(adam, lambda done: share_of_learning_rate(schedule, done / 12))
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimisation.step()
        adam.step()
        rate.step()
        assert torch.equal(ours, theirs)


def test_a_checkpoint_of_torch_s_adamw_is_continued():
    """Earlier releases wrote the state of `torch.optim.AdamW`."""
    train = config()
    ours, theirs = nn.Parameter(torch.ones(7)), nn.Parameter(torch.ones(7))
    adam = torch.optim.AdamW([theirs], lr=train.learning_rate, weight_decay=train.weight_decay)
    for _ in range(3):
        theirs.grad = torch.linspace(-1, 1, 7)
        adam.step()
    optimisation = optimise([ours], train)
    optimisation.load_state_dict({"adam": adam.state_dict(), "steps": 3})
    with torch.no_grad():
        ours.copy_(theirs)
    for weight in (ours, theirs):
        weight.grad = torch.ones(7)
    optimisation.step()
    adam.step()
    assert torch.equal(ours, theirs)


def test_training_does_not_load_torch_s_compiler():
    """Importing it takes seconds in every worker of a study."""
    code = """
import sys, torch
from pan_model.training.optimisation import Optimisation, TrainConfig
import pan_model.training.trainer
weight = torch.nn.Parameter(torch.ones(2))
train = TrainConfig(max_epochs=1, seed=0)
optimisation = Optimisation([{"params": [weight]}], train, steps_per_epoch=1)
weight.sum().backward()
optimisation.step()
print(*{"torch._dynamo", "torchvision", "sympy"}.intersection(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
