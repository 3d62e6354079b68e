"""Logistic regression on Gram matrices, against scikit-learn on the features."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pan_model.errors import UserError
from pan_model.scoring import logistic_regression
from pan_model.scoring.logistic_regression import LogisticFit, fit_logistic

DIM = 40


def episodes(num_sets: int, *, spread: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return unit vectors of 5 classes with 5 items each, and their classes. Classes overlap if `spread` is small."""
    generator = np.random.default_rng(seed)
    labels = np.tile(np.repeat(np.arange(5), 5), (num_sets, 1))
    means = spread * generator.normal(size=(num_sets, 5, DIM))
    x = np.take_along_axis(means, labels[:, :, None], axis=1) + generator.normal(size=(num_sets, 25, DIM))
    return torch.from_numpy(x / np.linalg.norm(x, axis=2, keepdims=True)), torch.from_numpy(labels)


def scores_of(fit: LogisticFit, x: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    scores = queries @ x.mT @ fit.alphas + fit.intercepts[:, None]
    return scores - scores.mean(dim=2, keepdim=True)  # only differences between classes are determined


@pytest.mark.parametrize("c", [0.1, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("spread", [0.2, 2.0])
def test_scores_are_those_of_scikit_learn(spread: float, c: float):
    x, labels = episodes(3, spread=spread)
    queries = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 7, DIM)))
    scores = scores_of(fit_logistic(x @ x.mT, labels, 5, c), x, queries)
    for own, items, classes, asked in zip(scores, x, labels, queries, strict=True):
        peer = LogisticRegression(C=c, tol=1e-9, max_iter=10_000).fit(items.numpy(), classes.numpy())
        expected = peer.decision_function(asked.numpy())
        expected -= expected.mean(axis=1, keepdims=True)
        assert np.abs(own.numpy() - expected).max() < 1e-4 * np.abs(expected).max()


def test_classes_of_different_sizes_have_intercepts():
    generator = np.random.default_rng(0)
    x, labels = generator.normal(size=(12, 3)), np.array([0] * 8 + [1] * 3 + [2])
    fit = fit_logistic(torch.from_numpy(x @ x.T)[None], torch.from_numpy(labels)[None], 3, 0.5)
    peer = LogisticRegression(C=0.5, tol=1e-9, max_iter=10_000).fit(x, labels)
    assert (fit.intercepts[0] - fit.intercepts.mean()).tolist() == pytest.approx(peer.intercept_, abs=1e-4)
    assert (fit.alphas[0].mT @ torch.from_numpy(x)).numpy() == pytest.approx(peer.coef_, abs=1e-4)


def test_the_solution_does_not_depend_on_the_origin_of_the_features():
    x, labels = episodes(2, spread=0.5)
    queries, shift = x[:, :4] + 0.1, 3 * torch.ones(DIM, dtype=x.dtype)
    scores = scores_of(fit_logistic(x @ x.mT, labels, 5, 10.0), x, queries)
    moved = x + shift
    of_moved = scores_of(fit_logistic(moved @ moved.mT, labels, 5, 10.0), moved, queries + shift)
    assert torch.allclose(scores, of_moved, atol=1e-4)


def test_sets_are_fitted_apart(monkeypatch: pytest.MonkeyPatch):
    x, labels = episodes(5, spread=0.5)
    together = fit_logistic(x @ x.mT, labels, 5, 10.0)
    monkeypatch.setitem(logistic_regression.CHUNK_VALUES, "cpu", 2 * 25 * 5)
    apart = fit_logistic(x @ x.mT, labels, 5, 10.0)
    assert torch.allclose(together.alphas, apart.alphas, atol=1e-9)
    assert torch.allclose(together.intercepts, apart.intercepts, atol=1e-9)


def test_float32_is_fitted_in_float64():
    x, labels = episodes(2, spread=0.5)
    fit = fit_logistic((x @ x.mT).float(), labels, 5, 10.0)
    exact = fit_logistic(x @ x.mT, labels, 5, 10.0)
    assert fit.alphas.dtype == torch.float64
    assert torch.allclose(fit.alphas, exact.alphas, atol=1e-4)


def test_a_set_that_is_not_finite_has_no_classifier():
    x, labels = episodes(2, spread=0.5)
    alone = fit_logistic(x[:1] @ x[:1].mT, labels[:1], 5, 10.0)
    x[1, 3] = torch.nan
    fit = fit_logistic(x @ x.mT, labels, 5, 10.0)
    assert fit.alphas.isnan().all(dim=(1, 2)).tolist() == [False, True]
    assert fit.intercepts.isnan().all(dim=1).tolist() == [False, True]
    assert torch.allclose(fit.alphas[:1], alone.alphas, atol=1e-4)


def test_no_sets_have_no_classifiers():
    fit = fit_logistic(torch.zeros(0, 6, 6), torch.zeros(0, 6, dtype=torch.int64), 3, 1.0)
    assert (fit.alphas.shape, fit.intercepts.shape) == ((0, 6, 3), (0, 3))


@pytest.mark.parametrize("c", [0.0, -1.0, float("inf"), float("nan")])
def test_c_is_positive(c: float):
    with pytest.raises(UserError, match=r"c must be a positive number, got"):
        fit_logistic(torch.eye(4)[None], torch.tensor([[0, 0, 1, 1]]), 2, c)
