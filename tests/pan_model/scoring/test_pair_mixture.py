"""The mixture for sets of one item, against the straight form over all pairs."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.pan import Pan, Scoring
from pan_model.model.precision import Precision
from pan_model.model.similarity import Joint
from pan_model.scoring import all_pairs, pair_mixture
from pan_model.scoring.all_pairs import most_similar, rank_embedded
from pan_model.scoring.pair_mixture import MixtureScale, Moments, PairMixture, measure_scale, sampled_items
from pan_model.scoring.pan_scorer import embedding_scorer, graph_scorer
from pan_model.tasks.retrieval import RetrievalTask
from pan_model.tasks.task import rank_gallery
from pan_model.training.trainer import Trainer

NUM_ITEMS = 40
ALL = np.arange(NUM_ITEMS)

Configure = Callable[..., TrialConfig]
Build = Callable[[TrialConfig], Pan]
Model = Callable[..., Pan]


@pytest.fixture
def embeddings(model: Model) -> Tensor:
    return torch.randn(NUM_ITEMS, model().encoder.embedding_dim, generator=torch.Generator().manual_seed(0))


def both_scores(pan: Pan, embeddings: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The cosine and the log-odds of all pairs, in float64."""
    first, second = np.indices((NUM_ITEMS, NUM_ITEMS)).reshape(2, -1)
    h1, h2 = embeddings[first].double(), embeddings[second].double()
    log_odds = pan.double().similarity(h1, h2).log_odds.detach()
    pan.float()
    cosine = torch.nn.functional.cosine_similarity(h1, h2)
    return cosine.view(NUM_ITEMS, -1).numpy(), log_odds.view(NUM_ITEMS, -1).numpy()


def expected_scores(pan: Pan, embeddings: Tensor, weight: float) -> np.ndarray:
    scale = measure_scale(pan, embeddings[sampled_items(NUM_ITEMS)])
    (cosine, log_odds) = (
        (scores - of.mean) / of.deviation for scores, of in zip(both_scores(pan, embeddings), scale, strict=True)
    )
    return weight * cosine + (1 - weight) * log_odds


@pytest.mark.parametrize("joint", Joint)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_mixture_adds_the_standardised_cosine_and_log_odds(
    joint: Joint, weight: float, model: Model, embeddings: Tensor
):
    pan = model(joint=joint, mixture_weight=weight)
    expected = expected_scores(pan, embeddings, weight)
    scorer = embedding_scorer(pan, embeddings)
    np.testing.assert_allclose(scorer(ALL[None], ALL[None, :, None])[0], expected, atol=1e-4)
    ranked = scorer.rank(ALL[:9], ALL[9:], 5)
    assert ranked.best.tolist() == np.argsort(-expected[:9, 9:], axis=1, kind="stable")[:, :5].tolist()
    assert not ranked.unknown.any()


@pytest.mark.parametrize("joint", Joint)
def test_scores_and_ranks_depend_on_no_division_of_queries_and_gallery(
    joint: Joint, model: Model, embeddings: Tensor, monkeypatch: pytest.MonkeyPatch
):
    pan = model(joint=joint)
    scorer = embedding_scorer(pan, embeddings)
    whole = scorer(ALL[None], ALL[None, :, None])[0]
    pieces = [scorer(ALL[None, :7], ALL[None, start : start + 8, None])[0] for start in range(0, NUM_ITEMS, 8)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole[:7], atol=1e-4)
    several = scorer(ALL.reshape(4, 10), np.stack([ALL[::-1]] * 4)[:, :, None])
    np.testing.assert_allclose(several.reshape(NUM_ITEMS, -1)[:, ::-1], whole, atol=1e-4)
    among, apart = scorer.rank(ALL, ALL, 6), scorer.rank(ALL[:9], ALL[9:], 6)
    monkeypatch.setattr(all_pairs, "STRIP", {"cpu": 3})
    monkeypatch.setattr(all_pairs, "SCORES_BATCH_SIZE", 100)
    assert scorer.rank(ALL, ALL, 6).best.tolist() == among.best.tolist()
    assert scorer.rank(ALL[:9], ALL[9:], 6).best.tolist() == apart.best.tolist()
    np.fill_diagonal(whole, -np.inf)
    assert among.best.tolist() == np.argsort(-whole, axis=1, kind="stable")[:, :6].tolist()
    assert rank_embedded(pan, embeddings, ALL, ALL, 6).best.tolist() == among.best.tolist()


def test_both_scores_have_mean_0_and_variance_1_over_pairs(model: Model, embeddings: Tensor):
    pan = model()
    for scores, of in zip(both_scores(pan, embeddings), measure_scale(pan, embeddings), strict=True):
        pairs = scores[~np.eye(NUM_ITEMS, dtype=bool)]
        assert of.mean == pytest.approx(pairs.mean(), abs=0.03 * pairs.std())
        assert of.deviation == pytest.approx(pairs.std(), rel=0.03)
    assert measure_scale(pan, embeddings) == measure_scale(pan, embeddings)


def test_the_scale_is_measured_once_and_on_a_bounded_sample(
    model: Model, embeddings: Tensor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pair_mixture, "SAMPLED_ITEMS", 8)
    assert len(set(sampled_items(NUM_ITEMS).tolist())) == 8
    assert sampled_items(5).tolist() == [0, 1, 2, 3, 4]
    scorer = embedding_scorer(model(), embeddings)
    before = scorer(ALL[None, :2], ALL[None, :, None])
    monkeypatch.setattr(pair_mixture, "SAMPLED_ITEMS", NUM_ITEMS)
    np.testing.assert_array_equal(scorer(ALL[None, :2], ALL[None, :, None]), before)
    assert not np.allclose(embedding_scorer(model(), embeddings)(ALL[None, :2], ALL[None, :, None]), before, atol=1e-4)


@pytest.mark.parametrize("joint", Joint)
def test_only_queries_with_a_score_that_is_not_finite_are_unknown(joint: Joint, model: Model, embeddings: Tensor):
    broken = embeddings.clone()
    broken[3] = torch.nan
    scorer = embedding_scorer(model(joint=joint), broken)
    scores = scorer(ALL[None], ALL[None, 4:, None])[0]
    assert np.isnan(scores).any(axis=1).tolist() == (ALL == 3).tolist()
    assert scorer.rank(ALL[:9], ALL[9:], 2).unknown.tolist() == (ALL[:9] == 3).tolist()
    assert scorer.rank(ALL[4:9], ALL, 2).unknown.all()


def test_scores_that_are_constant_are_not_scaled(model: Model):
    nothing = MixtureScale(Moments(0.0, 1.0), Moments(0.0, 1.0))
    assert measure_scale(model(), torch.ones(1, model().encoder.embedding_dim)) == nothing
    same = measure_scale(model(), torch.ones(5, model().encoder.embedding_dim))
    assert (same.cosine.deviation, same.log_odds.deviation) == (1.0, 1.0)
    assert same.cosine.mean == pytest.approx(1.0)


def test_products_in_bfloat16_are_near_those_in_float32(model: Model, embeddings: Tensor):
    for joint in Joint:
        pan = model(joint=joint)
        exact = embedding_scorer(pan, embeddings)(ALL[None], ALL[None, :, None])
        pan.similarity.precision = Precision.BFLOAT16
        scores = embedding_scorer(pan, embeddings)(ALL[None], ALL[None, :, None])
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, exact, atol=0.1)


def test_pairs_alone_and_the_most_similar_keep_the_log_odds(model: Model, embeddings: Tensor):
    mixed, by_log_odds = model(), model(Scoring.LOG_ODDS)
    found = [most_similar(pan, embeddings, k=3) for pan in (mixed, by_log_odds)]
    assert torch.equal(found[0].scores, found[1].scores)
    np.testing.assert_array_equal(
        mixed.score_pairs(embeddings, ALL[1:], ALL[:-1]), by_log_odds.score_pairs(embeddings, ALL[1:], ALL[:-1])
    )


def test_an_encoder_with_a_graph_has_one_scale_for_all_questions(build: Build, configure: Configure):
    pan = build(configure(encoder="graph", scoring="mixture", mixture_weight=0.4)).eval()
    inputs = torch.randn(NUM_ITEMS, pan.feature_dim, generator=torch.Generator().manual_seed(2))
    edges = np.array([[0, 1], [1, 0]])

    def around(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        return edges if 0 in queries else edges[:, :0]

    scorer = graph_scorer(pan, inputs, around)
    one, both = ALL[None, :1], np.array([[0], [7]])
    gallery = ALL[10:30]
    scores = scorer(both, np.stack([gallery, gallery])[:, :, None])
    np.testing.assert_allclose(scorer(one, gallery[None, :, None])[0], scores[0], atol=1e-5)
    with torch.no_grad():
        scale = measure_scale(pan, pan.encode(inputs[sampled_items(NUM_ITEMS)]))
        mixture, embedded = PairMixture(pan, scale), pan.encode(inputs)
        expected = mixture.block(mixture.left(embedded[7:8]), mixture.right(embedded[10:30]))
    np.testing.assert_allclose(scores[1], expected.numpy(), atol=1e-4)


def test_the_trainer_ranks_a_gallery_by_the_mixture(featured: FeaturedItems, configure: Configure):
    task = RetrievalTask(featured, seed=0)
    ranked: dict[float, np.ndarray] = {}
    for weight in (0.0, 1.0):
        config = configure(scoring="mixture", mixture_weight=weight, num_conditions=4)
        trainer = Trainer(task, config, torch.device("cpu"))
        assert 0 <= trainer.evaluate(Split.VAL).means()["recall@1"] <= 1
        items = featured.splits[Split.VAL]
        ranked[weight] = rank_gallery(trainer.scorer(Split.VAL), items, items, 3).best
        if weight == 1:
            unit = torch.nn.functional.normalize(trainer.embed(items).double(), dim=1)
            cosines = (unit @ unit.T).fill_diagonal_(-torch.inf).numpy()
            assert ranked[weight].tolist() == np.argsort(-cosines, axis=1, kind="stable")[:, :3].tolist()
    assert ranked[0.0].tolist() != ranked[1.0].tolist()
