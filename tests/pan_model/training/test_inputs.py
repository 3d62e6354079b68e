"""Frozen inputs are a table; both kinds answer what the trainer asks."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.pairs import Pairs
from pan_model.training.frozen_inputs import FrozenInputs
from pan_model.training.inputs import Inputs, StepInputs
from pan_model.training.learned_inputs import LearnedInputs
from pan_model.training.trainer import Trainer


@pytest.fixture
def frozen() -> FrozenInputs:
    features = torch.arange(12.0).reshape(4, 3)
    return FrozenInputs(features, features / 2)


def test_frozen_inputs_are_rows_of_a_table_in_every_step(frozen: FrozenInputs):
    items = torch.tensor([3, 0])
    assert frozen.features(items).tolist() == [[9, 10, 11], [0, 1, 2]]
    assert frozen.of(items).tolist() == [[4.5, 5, 5.5], [0, 0.5, 1]]
    step = Pairs(np.array([0]), np.array([3]), np.array([True]))
    steps = list(frozen.of_steps([step] * 3, epoch=1, seed=0))
    assert len(steps) == 3
    for of_step in steps:
        assert torch.equal(of_step.of(items), frozen.of(items))
        of_step.backward()


def test_frozen_inputs_have_nothing_to_learn_or_to_save(frozen: FrozenInputs):
    assert frozen.parameter_groups() == []
    assert frozen.state_dict() == {}
    frozen.load_state_dict({"epoch": 3})
    frozen.close()
    assert frozen.backbone is None
    assert isinstance(frozen, Inputs)
    assert isinstance(frozen, StepInputs)


def test_learned_inputs_answer_the_same_questions():
    methods = {name for name in vars(Inputs) if not name.startswith("_")}
    assert methods - {"costly"} <= set(dir(LearnedInputs))
    assert LearnedInputs.costly
    assert not FrozenInputs.costly


def test_a_checkpoint_of_a_frozen_trial_holds_what_it_always_held(
    task: FewShotTask, configure: Callable[..., TrialConfig]
):
    trainer = Trainer(task, configure(), torch.device("cpu"))
    assert trainer.state_dict().keys() == {"epoch", "model", "optimiser"}
    assert trainer.backbone is None
