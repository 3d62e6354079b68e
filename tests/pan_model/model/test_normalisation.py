"""Normalisation against slow computations and its own properties."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import pan_model.model.normalisation
from pan_model.errors import UserError
from pan_model.model.normalisation import (
    STEEPEST_AT,
    Normalisation,
    NormalisationConfig,
    NormalisationKind,
    covariance_within,
    inverse_root,
    signed_power,
)

CONFIGS = [
    NormalisationConfig(
        normalisation=kind,
        whitening_shrinkage=0.3 if kind is NormalisationKind.WHITEN else None,
        feature_power=power,
    )
    for kind in NormalisationKind
    for power in (1.0, 0.5)
]
CLASSES = torch.arange(40) % 4
seeds = st.integers(0, 99)


@pytest.fixture
def features() -> Tensor:
    drawn = 5 + 3 * torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    drawn[:, 2] = 0.1  # never varies
    return drawn


def fitted(config: NormalisationConfig, features: Tensor, classes: Tensor = CLASSES) -> Normalisation:
    normalisation = Normalisation(config, features.shape[1])
    normalisation.fit(features, classes)
    return normalisation


def of_kind(kind: NormalisationKind, features: Tensor) -> Normalisation:
    return fitted(NormalisationConfig(normalisation=kind), features, torch.arange(len(features)))


def whitening(shrinkage: float, features: Tensor, classes: Tensor = CLASSES) -> Normalisation:
    config = NormalisationConfig(normalisation=NormalisationKind.WHITEN, whitening_shrinkage=shrinkage)
    return fitted(config, features, classes)


def elongated(num_items: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Items of 4 classes that vary much more in some directions than in others, the same in each class."""
    generator = torch.Generator().manual_seed(seed)
    stretch = torch.randn(4, 4, generator=generator) * torch.tensor([10.0, 3.0, 1.0, 0.5])
    classes = torch.arange(num_items) % 4
    means = 5 * torch.randn(4, 4, generator=generator)
    return means[classes] + torch.randn(num_items, 4, generator=generator) @ stretch, classes


def cosines(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=1) @ F.normalize(vectors, dim=1).T


def test_standardised_features_have_mean_zero_and_deviation_one(features: Tensor):
    normalised = of_kind(NormalisationKind.STANDARDISE, features)(features).numpy()
    expected = np.zeros((40, 4))
    for d in (0, 1, 3):
        column = features[:, d].double().numpy()
        expected[:, d] = (column - column.sum() / 40) / np.sqrt(((column - column.sum() / 40) ** 2).sum() / 40)
    np.testing.assert_allclose(normalised, expected, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_what_was_fitted_is_applied_to_each_item_alone(config: NormalisationConfig, features: Tensor):
    normalisation = fitted(config, features)
    alone = normalisation(features[:1])
    torch.testing.assert_close(alone, normalisation(features)[:1])
    assert alone[:, [0, 1, 3]].abs().min() > 1e-3


def test_l2_gives_unit_vectors_of_the_same_direction(features: Tensor):
    normalised = of_kind(NormalisationKind.L2, features)(features).numpy()
    for row, vector in zip(normalised, features.numpy(), strict=True):
        np.testing.assert_allclose(row, vector / np.sqrt((vector.astype(float) ** 2).sum()), rtol=1e-5)


def test_l2_leaves_a_zero_vector_zero():
    assert not of_kind(NormalisationKind.L2, torch.zeros(2, 3))(torch.zeros(2, 3)).any()


def test_none_changes_nothing(features: Tensor):
    assert torch.equal(of_kind(NormalisationKind.NONE, features)(features), features)


@given(power=st.floats(0.05, 1), values=st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4))
def test_a_power_is_taken_of_each_feature_s_size_and_its_sign_is_kept(power: float, values: list[float]):
    config = NormalisationConfig(normalisation=NormalisationKind.NONE, feature_power=power)
    raised = fitted(config, torch.zeros(40, 4))(torch.tensor([values]))[0]
    assert raised.tolist() == pytest.approx([math.copysign(abs(x) ** power, x) for x in values], rel=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_power_falls_on_features_before_anything_is_fitted(config: NormalisationConfig, features: Tensor):
    raised = features.sign() * features.abs() ** config.feature_power
    expected = fitted(replace(config, feature_power=1.0), raised)(raised)
    assert torch.equal(fitted(config, features)(features), expected)


@given(num_items=st.integers(1, 9), num_classes=st.integers(1, 4), seed=seeds)
def test_covariance_within_is_the_mean_product_of_deviations_from_the_class_s_mean(
    num_items: int, num_classes: int, seed: int
):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_items, 3, generator=generator, dtype=torch.float64)
    classes = 7 * torch.randint(num_classes, (num_items,), generator=generator) - 5
    rows, labels = features.tolist(), classes.tolist()
    expected = np.zeros((3, 3))
    for row, label in zip(rows, labels, strict=True):
        fellows = [other for other, of_other in zip(rows, labels, strict=True) if of_other == label]
        deviation = [x - sum(other[d] for other in fellows) / len(fellows) for d, x in enumerate(row)]
        for d in range(3):
            for e in range(3):
                expected[d, e] += deviation[d] * deviation[e] / num_items
    np.testing.assert_allclose(covariance_within(features, classes).numpy(), expected, atol=1e-12)


@given(shrinkage=st.floats(0.01, 1), seed=seeds)
def test_inverse_root_makes_the_shrunken_covariance_round(shrinkage: float, seed: int):
    factor = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    covariance = factor.T @ factor  # one direction does not vary at all
    shrunken = (1 - shrinkage) * covariance + shrinkage * covariance.trace() / 4 * torch.eye(4, dtype=torch.float64)
    root = inverse_root(covariance, shrinkage)
    torch.testing.assert_close(root, root.T)
    torch.testing.assert_close(root @ shrunken @ root, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-9)


def test_whitening_without_shrinkage_makes_the_covariance_within_classes_round():
    features, classes = elongated(4000)
    normalisation = whitening(1e-6, features, classes)
    before_l2 = (features - normalisation.mean) @ normalisation.whitening
    torch.testing.assert_close(
        covariance_within(before_l2, classes), torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-3
    )
    assert before_l2.mean(dim=0).tolist() == pytest.approx([0.0] * 4, abs=1e-4)
    torch.testing.assert_close(normalisation(features), F.normalize(before_l2, dim=1))


def test_whitening_shrunk_all_the_way_is_centring_and_unit_length():
    features, classes = elongated(40)
    expected = F.normalize(features - features.mean(dim=0), dim=1)
    torch.testing.assert_close(whitening(1.0, features, classes)(features), expected, rtol=1e-5, atol=1e-5)


@given(seed=seeds, shrinkage=st.floats(0.05, 1), scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_whitened_cosines_do_not_depend_on_rotation_scale_or_origin(
    seed: int, shrinkage: float, scale: float, shift: float
):
    features, classes = (part[:60] for part in elongated(60, seed))
    drawn = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed + 1))
    moved = scale * features @ torch.linalg.qr(drawn).Q + shift
    expected = cosines(whitening(shrinkage, features, classes)(features))
    torch.testing.assert_close(cosines(whitening(shrinkage, moved, classes)(moved)), expected, rtol=0, atol=5e-3)


def test_unshrunken_whitened_cosines_do_not_depend_on_any_linear_map():
    features, classes = elongated(400)
    moved = features @ (torch.eye(4) + 0.4 * torch.randn(4, 4, generator=torch.Generator().manual_seed(3)))
    expected = cosines(whitening(1e-7, features, classes)(features))
    torch.testing.assert_close(cosines(whitening(1e-7, moved, classes)(moved)), expected, rtol=0, atol=1e-2)
    assert (cosines(moved) - cosines(features)).abs().max() > 0.1


def test_only_what_varies_within_classes_is_whitened():
    features, classes = elongated(40)
    apart = features + 100 * torch.eye(4)[classes]
    torch.testing.assert_close(
        whitening(0.2, apart, classes).whitening, whitening(0.2, features, classes).whitening, rtol=1e-3, atol=1e-4
    )
    one_class = whitening(0.2, features, torch.zeros_like(classes)).whitening
    assert (one_class - whitening(0.2, features, classes).whitening).abs().max() > 1e-2


def test_whitening_of_items_that_vary_in_no_class_is_the_identity():
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(whitening(0.5, features, torch.arange(3)).whitening, torch.eye(4))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_saved_normalisation_takes_features_as_they_were_extracted(config: NormalisationConfig, features: Tensor):
    saved = fitted(config, features)
    loaded = Normalisation(config, 4)
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(loaded(features), saved(features))
    assert not list(saved.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"normalisation": NormalisationKind.WHITEN}, "whitening_shrinkage must be given when, and only when"),
        ({"whitening_shrinkage": 0.5}, "whitening_shrinkage must be .*, and only when, normalisation is whiten"),
        *(
            (
                {"normalisation": NormalisationKind.WHITEN, "whitening_shrinkage": shrinkage},
                rf"whitening_shrinkage must lie in \(0, 1\], got {shrinkage}",
            )
            for shrinkage in (0.0, -0.5, 1.5, math.nan)
        ),
        *(
            ({"feature_power": power}, rf"feature_power must lie in \(0, 1\], got {power}")
            for power in (0.0, -1.0, 1.5, math.nan)
        ),
    ],
)
def test_impossible_normalisations_are_refused_by_name(values: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        NormalisationConfig(**values)


@pytest.mark.parametrize("at_once", [1, 2, 7])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_a_few_rows_at_a_time_are_as_good_as_all_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int, power: float):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 3, generator=generator) + 5
    features[:, 1] = 0.1  # never varies
    items, groups = torch.randint(20, (50,), generator=generator), torch.randint(9, (50,), generator=generator)
    for kind, shrinkage in (("standardise", None), ("whiten", 0.5), ("l2", None), ("none", None)):
        config = NormalisationConfig(
            normalisation=NormalisationKind(kind), whitening_shrinkage=shrinkage, feature_power=power
        )
        whole, pieces, listed = (Normalisation(config, 3) for _ in range(3))
        whole.fit(features[items], groups)
        listed.fit(features, groups, items)
        with monkeypatch.context() as context:
            context.setattr(pan_model.model.normalisation, "ROWS_BATCH_SIZE", at_once)
            pieces.fit(features, groups, items)
            normalised = pieces.normalise_all(features)
        for name, value in whole.state_dict().items():
            assert torch.equal(listed.state_dict()[name], value)
            torch.testing.assert_close(pieces.state_dict()[name], value)
        torch.testing.assert_close(normalised, whole(features))
        assert (whole.std[1] == 1) or kind != "standardise"
        assert (normalised is features) == (kind == "none" and power == 1)


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
