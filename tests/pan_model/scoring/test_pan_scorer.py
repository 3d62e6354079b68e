import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.pan import Pan, Scoring, ScoringConfig
from pan_model.model.similarity import Joint
from pan_model.scoring.pan_scorer import embedding_scorer, features_on, pan_scorer
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.task import SetScorer

CPU = torch.device("cpu")
QUERIES = np.array([[0, 5, 9, 40], [7, 7, 3, 100]])
SETS = np.array([[[1, 2], [3, 4], [5, 9]], [[8, 7], [0, 1], [2, 1]]])

UNFITTED = [scoring for scoring in Scoring if not scoring.is_fitted]

Configure = Callable[..., TrialConfig]
Build = Callable[[TrialConfig], Pan]
Model = Callable[..., Pan]


@pytest.fixture
def model(build: Build, configure: Configure) -> Model:
    """Make a model of 6 conditions with dropout everywhere, in training mode."""

    def make(scoring: Scoring, joint: Joint = Joint.ABSDIFF) -> Pan:
        dropped = {"dropout": 0.5, "feature_dropout": 0.5, "condition_dropout": 0.5}
        return build(configure(scoring=str(scoring), joint=str(joint), projection="residual", **dropped)).train()

    return make


def slow_score(model: Pan, query: Tensor, members: Tensor) -> float:
    """The score of one query and one set of embeddings, from the pairs' p alone."""

    def p(one: Tensor, other: Tensor) -> float:
        return model.similarity(one[None].double(), other[None].double()).score.item()

    def log_odds(one: Tensor, other: Tensor) -> float:
        return math.log(p(one, other) / (1 - p(one, other)))

    match model.scoring:
        case Scoring.PAIR_MEAN:
            return sum(p(query, member) for member in members) / len(members)
        case Scoring.LOG_ODDS:
            return sum(log_odds(query, member) for member in members) / len(members)
        case Scoring.SUPPORT_MEAN:
            return log_odds(query, torch.stack([column.sum() / len(members) for column in members.T]))
        case _:
            raise AssertionError("fitted scorings have tests of their own")


@pytest.mark.parametrize("joint", Joint)
@pytest.mark.parametrize("scoring", UNFITTED)
def test_a_set_is_scored_as_the_configuration_says_without_dropout(
    scoring: Scoring, joint: Joint, model: Model, task: FewShotTask
):
    pan: Pan = model(scoring, joint)
    scores = pan_scorer(pan, task, Split.VAL, CPU)(QUERIES, SETS)
    assert scores.shape == (2, 4, 3)
    with torch.inference_mode():
        embeddings = pan.eval().embed(torch.tensor(task.featured.features)).double()
        pan.double()
        for b, q, c in np.ndindex(2, 4, 3):
            expected = slow_score(pan, embeddings[QUERIES[b, q]], embeddings[SETS[b, c]])
            assert scores[b, q, c] == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("joint", Joint)
def test_for_sets_of_one_item_all_scorings_but_the_mixture_order_queries_alike(
    joint: Joint, model: Model, task: FewShotTask
):
    alike = [scoring for scoring in Scoring if scoring is not Scoring.MIXTURE]
    scorers: list[SetScorer] = [pan_scorer(model(scoring, joint), task, Split.VAL, CPU) for scoring in alike]
    queries, sets = np.arange(60)[None], np.arange(60, 70)[None, :, None]
    by_p, by_log_odds, *others = (scorer(queries, sets)[0] for scorer in scorers)
    for by_other in others:
        np.testing.assert_array_equal(by_log_odds, by_other)
    np.testing.assert_allclose(1 / (1 + np.exp(-by_log_odds)), by_p, rtol=1e-5)
    for of_p, of_odds in zip(by_p.T, by_log_odds.T, strict=True):
        assert (np.diff(of_odds[np.argsort(of_p)]) > -1e-4).all()


@pytest.mark.parametrize("scoring", UNFITTED)
def test_a_set_s_score_does_not_depend_on_its_order_or_on_the_other_questions(
    scoring: Scoring, model: Model, task: FewShotTask
):
    scorer = pan_scorer(model(scoring), task, Split.VAL, CPU)
    whole = scorer(QUERIES, SETS)
    np.testing.assert_allclose(scorer(QUERIES, SETS[:, :, ::-1].copy()), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scorer(QUERIES[1:, 2:], SETS[1:, :2]), whole[1:, 2:, :2], rtol=1e-5, atol=1e-6)


def test_a_set_of_the_same_item_over_and_over_is_that_item(model: Model, task: FewShotTask):
    for scoring in UNFITTED:
        scorer = pan_scorer(model(scoring), task, Split.VAL, CPU)
        once, often = (scorer(QUERIES, np.repeat(SETS[:, :, :1], times, axis=2)) for times in (1, 5))
        np.testing.assert_allclose(often, once, rtol=1e-4, atol=1e-5)


def test_one_sure_pair_counts_beside_unsure_ones_in_log_odds_only(build: Build, configure: Configure):
    """A set with one near neighbour and four strangers, against one with five items in between."""
    embeddings = torch.tensor([0.0, 0.0, 9.0, 4.0])[:, None].expand(4, 16).contiguous()
    sets = np.array([[[1, 2, 2, 2, 2], [3, 3, 3, 3, 3]]])
    scores: dict[Scoring, np.ndarray] = {}
    for scoring in (Scoring.PAIR_MEAN, Scoring.LOG_ODDS):
        pan = build(configure(scoring=str(scoring), num_conditions=1))
        with torch.no_grad():
            pan.similarity.similarity.weight.fill_(-1 / 16)
            pan.similarity.similarity.bias.fill_(1.0)
        scores[scoring] = embedding_scorer(pan, embeddings)(np.array([[0]]), sets)[0, 0]
    p = [1 / (1 + math.exp(-(1 - distance))) for distance in (0, 9, 4)]
    assert scores[Scoring.PAIR_MEAN].tolist() == pytest.approx([(p[0] + 4 * p[1]) / 5, p[2]], rel=1e-5)
    assert scores[Scoring.LOG_ODDS].tolist() == pytest.approx([(1 + 4 * -8) / 5, -3], rel=1e-5)


@pytest.mark.parametrize("scoring", UNFITTED)
def test_a_nan_embedding_shows_in_every_score_that_it_takes_part_in(scoring: Scoring, model: Model, task: FewShotTask):
    pan = model(scoring).eval()
    with torch.no_grad():
        embeddings = pan.embed(torch.tensor(task.featured.features))
    embeddings[3] = math.nan
    broken = np.isnan(embedding_scorer(pan, embeddings)(QUERIES, SETS))
    expected = (QUERIES == 3)[:, :, None] | (SETS == 3).any(axis=2)[:, None]
    np.testing.assert_array_equal(broken, expected)


def test_queries_are_scored_the_papers_way_unless_said_otherwise():
    assert ScoringConfig().scoring is Scoring.PAIR_MEAN


def test_shared_features_are_viewed_without_a_copy_and_without_a_warning(featured: FeaturedItems):
    assert not featured.features.flags.writeable
    viewed = features_on(CPU, featured.features)
    assert viewed.data_ptr() == featured.features.ctypes.data
    assert viewed.dtype is torch.float32
    np.testing.assert_array_equal(viewed.numpy(), featured.features)
