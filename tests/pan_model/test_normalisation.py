import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model.normalisation import Normalisation, NormalisationKind


@pytest.fixture
def features() -> Tensor:
    drawn = 5 + 3 * torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    drawn[:, 2] = 0.1  # never varies
    return drawn


def fitted(kind: NormalisationKind, features: Tensor) -> Normalisation:
    normalisation = Normalisation(kind, features.shape[1])
    normalisation.fit(features)
    return normalisation


def test_standardised_features_have_mean_zero_and_deviation_one(features: Tensor):
    normalised = fitted(NormalisationKind.STANDARDISE, features)(features).numpy()
    expected = np.zeros((40, 4))
    for d in (0, 1, 3):
        column = features[:, d].double().numpy()
        expected[:, d] = (column - column.sum() / 40) / np.sqrt(((column - column.sum() / 40) ** 2).sum() / 40)
    np.testing.assert_allclose(normalised, expected, atol=1e-5)


def test_standardising_applies_what_was_fitted_to_other_items(features: Tensor):
    normalisation = fitted(NormalisationKind.STANDARDISE, features)
    alone = normalisation(features[:1])
    torch.testing.assert_close(alone, normalisation(features)[:1])
    assert alone[:, [0, 1, 3]].abs().min() > 1e-3


def test_l2_gives_unit_vectors_of_the_same_direction(features: Tensor):
    normalised = fitted(NormalisationKind.L2, features)(features).numpy()
    for row, vector in zip(normalised, features.numpy(), strict=True):
        np.testing.assert_allclose(row, vector / np.sqrt((vector.astype(float) ** 2).sum()), rtol=1e-5)


def test_l2_leaves_a_zero_vector_zero():
    assert not fitted(NormalisationKind.L2, torch.zeros(2, 3))(torch.zeros(2, 3)).any()


def test_none_changes_nothing(features: Tensor):
    assert torch.equal(fitted(NormalisationKind.NONE, features)(features), features)


def test_a_saved_normalisation_takes_features_as_they_were_extracted(features: Tensor):
    saved = fitted(NormalisationKind.STANDARDISE, features)
    loaded = Normalisation(NormalisationKind.STANDARDISE, 4)
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(loaded(features), saved(features))
