"""Normalised features that are computed when they are asked for are those of the table, up to rounding."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.model.normalisation import Normalisation, NormalisationConfig, NormalisationKind
from pan_model.scores import EpochRecord
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.normalised_rows import KEPT_BYTES, ComputedRows, normalise_rows
from pan_model.training.trainer import Trainer

FEATURES = torch.from_numpy(np.random.default_rng(0).gamma(1.0, size=(40, 6)).astype(np.float32))
CLASSES = torch.arange(40) % 5


@pytest.fixture(params=NormalisationKind)
def normalisation(request: pytest.FixtureRequest) -> Normalisation:
    shrinkage = {"whitening_shrinkage": 0.5} if request.param is NormalisationKind.WHITEN else {}
    made = Normalisation(NormalisationConfig(normalisation=request.param, feature_power=0.5, **shrinkage), 6)
    made.fit(FEATURES, CLASSES)
    return made


def test_a_small_table_is_kept(normalisation: Normalisation):
    rows = normalise_rows(normalisation, FEATURES)
    assert isinstance(rows, Tensor)
    assert torch.equal(rows, normalisation.normalise_all(FEATURES))
    assert FEATURES.nbytes < KEPT_BYTES


def test_rows_of_a_large_table_are_computed_and_equal(normalisation: Normalisation):
    rows = normalise_rows(normalisation, FEATURES, kept_bytes=FEATURES.nbytes - 1)
    assert isinstance(rows, ComputedRows)
    assert len(rows) == len(FEATURES)
    items = torch.tensor([3, 3, 39, 0])
    torch.testing.assert_close(rows[items], normalisation.normalise_all(FEATURES)[items])


def test_features_that_stay_as_they_are_need_no_second_table():
    kept = Normalisation(NormalisationConfig(normalisation=NormalisationKind.NONE), 6)
    assert normalise_rows(kept, FEATURES, kept_bytes=0) is FEATURES


def test_training_is_the_same_either_way(
    monkeypatch: pytest.MonkeyPatch,
    task: FewShotTask,
    configure: Callable[..., TrialConfig],
    run: Callable[[Trainer, int], list[EpochRecord]],
):
    records: list[list[EpochRecord]] = []
    tables: list[np.ndarray] = []
    for kept_bytes in (KEPT_BYTES, 0):
        monkeypatch.setattr("pan_model.training.trainer.normalise_rows", partial(normalise_rows, kept_bytes=kept_bytes))
        trainer = Trainer(task, configure(), torch.device("cpu"))
        tables.append(trainer.normalised_features(Split.VAL))
        records.append(run(trainer, 2))
    np.testing.assert_allclose(tables[1], tables[0], rtol=1e-5, atol=1e-6)
    for kept, computed in zip(*records, strict=True):
        assert computed == pytest.approx(kept, rel=1e-3)
