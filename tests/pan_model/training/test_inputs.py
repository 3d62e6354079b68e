"""Frozen inputs: the rows of a table, normalised ahead or when they are needed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.model.normalisation import Normalisation, NormalisationConfig, NormalisationKind
from pan_model.scores import EpochRecord
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.pairs import Pairs
from pan_model.training.inputs import (
    KEPT_BYTES,
    ComputedRows,
    FrozenInputs,
    Inputs,
    Rows,
    StepInputs,
    fit_and_normalise,
)
from pan_model.training.learned_inputs import LearnedInputs
from pan_model.training.trainer import Trainer
from pan_model.training.trial_cache import TrialCache


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
    assert methods <= set(dir(LearnedInputs))


def test_a_checkpoint_of_a_frozen_trial_holds_what_it_always_held(
    task: FewShotTask, configure: Callable[..., TrialConfig]
):
    trainer = Trainer(task, configure(), torch.device("cpu"))
    assert trainer.state_dict().keys() == {"epoch", "model", "optimiser"}
    assert trainer.backbone is None


FEATURES = torch.from_numpy(np.random.default_rng(0).gamma(1.0, size=(40, 6)).astype(np.float32))
CLASSES = torch.arange(40) % 5


@pytest.fixture(params=NormalisationKind)
def normalisation(request: pytest.FixtureRequest) -> Normalisation:
    shrinkage = {"whitening_shrinkage": 0.5} if request.param is NormalisationKind.WHITEN else {}
    made = Normalisation(NormalisationConfig(normalisation=request.param, feature_power=0.5, **shrinkage), 6)
    made.fit(FEATURES, CLASSES)
    return made


def rows_of(config: NormalisationConfig) -> Rows:
    every = torch.arange(len(FEATURES))
    return fit_and_normalise(Normalisation(config, 6), FEATURES, CLASSES, every, at_once=False, cache=TrialCache())


def test_a_small_table_is_kept(normalisation: Normalisation):
    rows = rows_of(normalisation.config)
    assert isinstance(rows, Tensor)
    assert torch.equal(rows, normalisation.normalise_all(FEATURES))
    assert FEATURES.nbytes < KEPT_BYTES


def test_rows_of_a_large_table_are_computed_and_equal(normalisation: Normalisation, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pan_model.training.inputs.KEPT_BYTES", FEATURES.nbytes - 1)
    rows = rows_of(normalisation.config)
    if normalisation.keeps_features:
        assert rows is FEATURES
        return
    assert isinstance(rows, ComputedRows)
    assert len(rows) == len(FEATURES)
    items = torch.tensor([3, 3, 39, 0])
    torch.testing.assert_close(rows[items], normalisation.normalise_all(FEATURES)[items])


def test_features_that_stay_as_they_are_need_no_second_table(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pan_model.training.inputs.KEPT_BYTES", 0)
    assert rows_of(NormalisationConfig(normalisation=NormalisationKind.NONE)) is FEATURES


def test_training_is_the_same_either_way(
    monkeypatch: pytest.MonkeyPatch,
    task: FewShotTask,
    configure: Callable[..., TrialConfig],
    run: Callable[[Trainer, int], list[EpochRecord]],
):
    records: list[list[EpochRecord]] = []
    tables: list[np.ndarray] = []
    for kept_bytes in (KEPT_BYTES, 0):
        monkeypatch.setattr("pan_model.training.inputs.KEPT_BYTES", kept_bytes)
        trainer = Trainer(task, configure(), torch.device("cpu"))
        tables.append(trainer.normalised_features(Split.VAL))
        records.append(run(trainer, 2))
    np.testing.assert_allclose(tables[1], tables[0], rtol=1e-5, atol=1e-6)
    for kept, computed in zip(*records, strict=True):
        assert computed == pytest.approx(kept, rel=1e-3)
