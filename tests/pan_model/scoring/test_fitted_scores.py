"""Scores that are fitted to the sets of a question, against straight forms that optimise one question at a time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from pan_model.errors import UserError
from pan_model.model.pan import Pan, Scoring, ScoringConfig
from pan_model.model.similarity import Joint, PairSimilarity
from pan_model.scoring import condition_scores, fitted_scores
from pan_model.scoring.pan_scorer import embedding_scorer

NUM_SETS, NUM_ITEMS, NUM_QUERIES = 3, 4, 6
FITTED = [scoring for scoring in Scoring if scoring.is_fitted]
OF_SET = np.repeat(np.arange(NUM_SETS), NUM_ITEMS)

Model = Callable[..., Pan]


@pytest.fixture
def embeddings(model: Model) -> Tensor:
    """60 items of 3 overlapping classes, one after another."""
    generator = torch.Generator().manual_seed(0)
    width = model(Scoring.LOG_ODDS).encoder.embedding_dim
    means = torch.randn(3, width, generator=generator)
    return means.repeat(20, 1) + 1.5 * torch.randn(60, width, generator=generator)


def questions(num_questions: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw queries and sets; item i is of class i modulo 3."""
    generator = np.random.default_rng(seed)
    drawn = np.stack([generator.permutation(20) for _ in range(num_questions * NUM_SETS)])
    items = 3 * drawn.reshape(num_questions, NUM_SETS, 20) + np.arange(NUM_SETS)[:, None]
    return items[:, :, NUM_ITEMS : NUM_ITEMS + 2].reshape(num_questions, NUM_QUERIES), items[:, :, :NUM_ITEMS]


def outputs(pan: Pan, embeddings: Tensor, first: np.ndarray, second: np.ndarray) -> PairSimilarity:
    """The outputs of all pairs of two lists, (len(first) * len(second), M)."""
    rows, columns = np.repeat(first, len(second)), np.tile(second, len(first))
    return pan.similarity(embeddings[rows].double(), embeddings[columns].double())


def test_the_embedding_classifier_is_logistic_regression_on_embeddings_of_length_one(model: Model, embeddings: Tensor):
    queries, sets = questions()
    pan = model(Scoring.EMBEDDING_CLASSIFIER, classifier_c=2.0)
    scores = embedding_scorer(pan, embeddings)(queries, sets)
    unit = torch.nn.functional.normalize(embeddings.double(), dim=1).numpy()
    for of_question, asked, members in zip(scores, queries, sets, strict=True):
        x = unit[members.ravel()]
        scale = np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
        peer = LogisticRegression(C=2.0, tol=1e-8, max_iter=10_000).fit(x / scale, OF_SET)
        expected = peer.decision_function(unit[asked] / scale)
        own, expected = (values - values.mean(axis=1, keepdims=True) for values in (of_question, expected))
        np.testing.assert_allclose(own, expected, atol=1e-3)


def test_a_mixture_weighs_standardised_scores(model: Model, embeddings: Tensor):
    queries, sets = questions()

    def standardised(scoring: Scoring) -> np.ndarray:
        scores = embedding_scorer(model(scoring), embeddings)(queries, sets)
        scores = scores - scores.mean(axis=2, keepdims=True)
        return scores / scores.std(axis=(1, 2), keepdims=True)

    mixed = embedding_scorer(model(Scoring.MIXTURE, mixture_weight=0.3), embeddings)(queries, sets)
    expected = 0.3 * standardised(Scoring.EMBEDDING_CLASSIFIER) + 0.7 * standardised(Scoring.SUPPORT_MEAN)
    np.testing.assert_allclose(mixed, expected, atol=1e-4)


@pytest.mark.parametrize("joint", Joint)
def test_the_condition_classifier_approaches_the_minimum_of_the_conditional_logit(
    joint: Joint, model: Model, embeddings: Tensor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(condition_scores, "NEWTON_STEPS", 20)
    queries, sets = questions()
    pan = model(Scoring.CONDITION_CLASSIFIER, joint, classifier_c=2.0)
    scores = embedding_scorer(pan, embeddings)(queries, sets)
    pan.double()
    for of_question, asked, members in zip(scores, queries, sets, strict=True):
        expected = slow_condition_classifier(pan, embeddings, asked, members)
        np.testing.assert_allclose(of_question, expected, atol=1e-3)


def slow_condition_classifier(pan: Pan, embeddings: Tensor, asked: np.ndarray, members: np.ndarray) -> np.ndarray:
    items = members.ravel()

    def means(rows: np.ndarray, kept: np.ndarray) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            pairs = outputs(pan, embeddings, rows, items)
        shape = (len(rows), NUM_SETS, NUM_ITEMS)
        weights = torch.from_numpy(kept).double().view(shape)
        weights = weights / weights.sum(dim=2, keepdim=True)
        of_conditions = (pairs.similarity_logits.view(*shape, -1) * weights[..., None]).sum(dim=2)
        return of_conditions, (pairs.log_odds.view(shape) * weights).sum(dim=2)

    features, offset = means(items, ~np.eye(len(items), dtype=bool))
    of_queries, own = means(asked, np.ones((len(asked), len(items)), dtype=bool))
    centred = features - features.mean(dim=1, keepdim=True)
    scale = centred.square().sum(dim=2).mean().sqrt()
    weights = torch.zeros(features.shape[2], dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = offset + (centred / scale) @ weights
        value = 2.0 * torch.nn.functional.cross_entropy(logits, torch.from_numpy(OF_SET), reduction="sum")
        value = value + weights.square().sum() / 2
        value.backward()
        return value.detach()

    optimiser.step(loss)
    return (own + (of_queries / scale) @ weights.detach()).numpy()


@pytest.mark.parametrize("joint", Joint)
def test_adapted_relevance_is_a_newton_step_of_the_pairs_loss(joint: Joint, model: Model, embeddings: Tensor):
    queries, sets = questions()
    c = 5.0
    pan = model(Scoring.ADAPTED_RELEVANCE, joint, classifier_c=c)
    scores = embedding_scorer(pan, embeddings)(queries, sets)
    pan.double()
    for of_question, asked, members in zip(scores, queries, sets, strict=True):
        expected = slow_adapted_relevance(pan, embeddings, asked, members, c)
        np.testing.assert_allclose(of_question, expected, rtol=1e-3, atol=1e-3)


def slow_adapted_relevance(
    pan: Pan, embeddings: Tensor, asked: np.ndarray, members: np.ndarray, c: float
) -> np.ndarray:
    items = members.ravel()
    first, second = np.triu_indices(len(items), 1)
    same = torch.from_numpy(OF_SET[first] == OF_SET[second]).double()

    def log_odds(pairs: PairSimilarity, shift: Tensor) -> Tensor:
        return PairSimilarity(pairs.similarity_logits, torch.log_softmax(pairs.log_relevance + shift, dim=1)).log_odds

    of_items = pan.similarity(embeddings[items[first]].double(), embeddings[items[second]].double())
    start = torch.zeros(6, dtype=torch.double)
    gradients = torch.autograd.functional.jacobian(lambda shift: log_odds(of_items, shift), start)
    assert isinstance(gradients, Tensor)
    scale = gradients.square().sum(dim=1).mean().sqrt()
    rows = gradients / scale
    p = torch.sigmoid(log_odds(of_items, start)).detach()
    weights = len(items) / 2 * torch.where(same == 1, 1 / same.sum(), 1 / (1 - same).sum())
    hessian = torch.eye(6, dtype=torch.double) / c + rows.T @ ((weights * p * (1 - p))[:, None] * rows)
    shift = torch.linalg.solve(hessian, rows.T @ (weights * (same - p))) / scale
    with torch.no_grad():
        shifted = log_odds(outputs(pan, embeddings, asked, items), shift)
    return shifted.view(len(asked), NUM_SETS, NUM_ITEMS).mean(dim=2).numpy()


@pytest.mark.parametrize("scoring", [Scoring.CONDITION_CLASSIFIER, Scoring.ADAPTED_RELEVANCE])
def test_a_strong_penalty_keeps_the_model_s_own_log_odds(scoring: Scoring, model: Model, embeddings: Tensor):
    queries, sets = questions()
    scores = embedding_scorer(model(scoring, classifier_c=1e-7), embeddings)(queries, sets)
    np.testing.assert_allclose(scores, embedding_scorer(model(Scoring.LOG_ODDS), embeddings)(queries, sets), atol=1e-3)


@pytest.mark.parametrize("scoring", FITTED)
def test_questions_are_fitted_apart_and_in_any_order(
    scoring: Scoring, model: Model, embeddings: Tensor, monkeypatch: pytest.MonkeyPatch
):
    queries, sets = questions()
    scorer = embedding_scorer(model(scoring), embeddings)
    whole = scorer(queries, sets)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(scorer(queries, sets[:, :, ::-1].copy()), whole, atol=1e-3)
    np.testing.assert_allclose(scorer(queries, sets[:, ::-1].copy())[:, :, ::-1], whole, atol=1e-3)
    monkeypatch.setattr(fitted_scores, "GATHERED_VALUES", 1)
    monkeypatch.setattr(condition_scores, "GATHERED_LOGITS", {"cpu": 1})
    monkeypatch.setattr(condition_scores, "TABLE", 0)
    np.testing.assert_allclose(scorer(queries, sets), whole, atol=1e-3)
    np.testing.assert_allclose(scorer(queries[1:2], sets[1:2]), whole[1:2], atol=1e-3)


@pytest.mark.parametrize("scoring", FITTED)
def test_a_single_set_and_sets_of_one_item_are_scored_by_log_odds(scoring: Scoring, model: Model, embeddings: Tensor):
    queries, sets = questions()
    scorer, by_log_odds = (embedding_scorer(model(rule), embeddings) for rule in (scoring, Scoring.LOG_ODDS))
    parts = [sets[:, :1], sets[:, :1, :1]]
    if scoring is not Scoring.MIXTURE:  # of the cosine, see test_pair_mixture.py
        parts.append(sets[:, :, :1])
    for part in parts:
        np.testing.assert_array_equal(scorer(queries, part), by_log_odds(queries, part))


@pytest.mark.parametrize("scoring", FITTED)
def test_an_item_that_is_not_finite_leaves_its_question_without_scores(
    scoring: Scoring, model: Model, embeddings: Tensor
):
    queries, sets = questions()
    scorer = embedding_scorer(model(scoring), embeddings)
    whole = scorer(queries, sets)
    broken = embeddings.clone()
    broken[sets[0, 1, 2]] = torch.nan
    has_it = (queries == sets[0, 1, 2]).any(axis=1) | (sets == sets[0, 1, 2]).any(axis=(1, 2))
    scores = embedding_scorer(model(scoring), broken)(queries, sets)
    fitted_to_it = (sets == sets[0, 1, 2]).any(axis=(1, 2))
    assert np.isnan(scores[fitted_to_it]).all()
    np.testing.assert_allclose(scores[~has_it], whole[~has_it], atol=1e-3)


def test_no_questions_have_no_scores(model: Model, embeddings: Tensor):
    queries, sets = (part[:0] for part in questions())
    for scoring in FITTED:
        assert embedding_scorer(model(scoring), embeddings)(queries, sets).shape == (0, NUM_QUERIES, NUM_SETS)


def test_what_a_scoring_does_not_use_is_refused():
    with pytest.raises(UserError, match=r"scoring log_odds fits nothing: leave classifier_c out\."):
        ScoringConfig(scoring=Scoring.LOG_ODDS, classifier_c=1.0)
    with pytest.raises(UserError, match=r"scoring embedding_classifier is no mixture: leave mixture_weight out\."):
        ScoringConfig(scoring=Scoring.EMBEDDING_CLASSIFIER, mixture_weight=0.5)
    for c in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match=r"classifier_c must be a positive number, got"):
            ScoringConfig(scoring=Scoring.MIXTURE, classifier_c=c)
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match=r"mixture_weight must lie in \[0, 1\], got"):
            ScoringConfig(scoring=Scoring.MIXTURE, mixture_weight=weight)
