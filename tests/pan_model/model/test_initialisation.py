import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.model import initialisation as first_weights_module
from pan_model.model.encoders.proxynca import ProxyNCAEncoder
from pan_model.model.initialisation import calibrate, closeness, start_as_distance
from pan_model.model.similarity import ConditionSimilarity, FirstWeights, Joint, SimilarityConfig
from pan_model.scoring.baselines.untrained import nearest_class_mean, normalised_features
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.loss import pair_losses
from pan_model.training.trainer import Trainer

CPU = torch.device("cpu")
Configure = Callable[..., TrialConfig]
KNOW_DISTANCES = [joint for joint in Joint if joint.symmetric]
EMBEDDING_DIM = 64


def drawn_pairs(num_pairs: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of which every other one is of near neighbours."""
    generator = torch.Generator().manual_seed(0)
    h1, other, noise = torch.randn(3, num_pairs, EMBEDDING_DIM, generator=generator)
    same = torch.arange(num_pairs) % 2 == 0
    return h1, torch.where(same[:, None], h1 + noise, other), same


def started(joint: Joint, num_conditions: int = 8, num_labelled: int = 0) -> ConditionSimilarity:
    torch.manual_seed(0)
    config = SimilarityConfig(joint=joint, first_weights=FirstWeights.DISTANCE)
    similarity = ConditionSimilarity(config, embedding_dim=EMBEDDING_DIM, num_conditions=num_conditions)
    start_as_distance(similarity, *drawn_pairs(), num_labelled=num_labelled)
    return similarity.eval()


def ranks(values: Tensor) -> list[int]:
    return values.argsort().argsort().tolist()


def test_closeness_is_the_cosine_or_minus_the_l1_distance():
    h1, h2, _ = drawn_pairs(20)
    config = {joint: SimilarityConfig(joint=joint) for joint in KNOW_DISTANCES}
    close = {
        joint: closeness(ConditionSimilarity(config[joint], embedding_dim=EMBEDDING_DIM, num_conditions=3), h1, h2)
        for joint in KNOW_DISTANCES
    }
    for pair, (one, other) in enumerate(zip(h1.tolist(), h2.tolist(), strict=True)):
        products = [a * b for a, b in zip(one, other, strict=True)]
        cosine = sum(products) / (math.hypot(*one) * math.hypot(*other))
        distance = sum(abs(a - b) for a, b in zip(one, other, strict=True))
        assert close[Joint.PRODUCT][pair].item() == pytest.approx(EMBEDDING_DIM * cosine, abs=1e-4)
        assert close[Joint.ABSDIFF][pair].item() == pytest.approx(-distance, rel=1e-5)


values = st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=9)


@given(of_same=values, of_different=values)
def test_calibration_is_the_log_ratio_of_two_gaussians_of_equal_variance(
    of_same: list[float], of_different: list[float]
):
    one, other = statistics.fmean(of_same), statistics.fmean(of_different)
    variance = (statistics.pvariance(of_same) + statistics.pvariance(of_different)) / 2
    assume(one - other > 1e-3 and variance > 1e-3)
    same = torch.tensor([True] * len(of_same) + [False] * len(of_different))
    slope, offset = calibrate(torch.tensor([*of_same, *of_different]), same)

    def log_density(x: float, mean: float) -> float:
        return -((x - mean) ** 2) / (2 * variance)

    for x in (-3.0, 0.0, 50.0):
        expected = log_density(x, one) - log_density(x, other)
        assert slope * x + offset == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]], ids=["equal", "certain", "reversed"]
)
def test_closeness_that_says_nothing_of_classes_has_slope_one(values: list[float]):
    slope, offset = calibrate(torch.tensor(values), torch.tensor([True, True, False, False]))
    assert slope == 1
    assert offset == -sum(values) / 4


@pytest.mark.parametrize("joint", KNOW_DISTANCES)
def test_without_spread_the_score_is_the_calibrated_distance(joint: Joint, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(first_weights_module, "SPREAD", 0.0)
    similarity = started(joint)
    h1, h2, same = drawn_pairs()
    close = closeness(similarity, h1, h2)
    slope, offset = calibrate(close, same)
    assert slope > 0
    pairs = similarity(h1, h2)
    torch.testing.assert_close(pairs.log_odds, slope * close + offset, rtol=1e-4, atol=1e-4)
    assert ranks(pairs.log_odds) == ranks(close)
    torch.testing.assert_close(pairs.relevance, torch.full_like(pairs.relevance, 1 / 8))


@pytest.mark.parametrize("joint", KNOW_DISTANCES)
def test_score_is_a_growing_function_of_closeness_up_to_the_spread(joint: Joint):
    similarity = started(joint)
    h1, h2, _ = drawn_pairs()
    of_score, of_closeness = ranks(similarity(h1, h2).log_odds), ranks(closeness(similarity, h1, h2))
    assert statistics.correlation(of_score, of_closeness) > 0.98


@pytest.mark.parametrize("joint", KNOW_DISTANCES)
def test_conditions_differ_by_a_tenth_and_are_about_as_relevant(joint: Joint):
    weight = started(joint, num_conditions=200).similarity.weight
    assert (weight.std() / weight.mean().abs()).item() == pytest.approx(0.1, rel=0.05)
    assert (weight.mean() > 0) == (joint is Joint.PRODUCT)
    relevance = started(joint)(*drawn_pairs()[:2]).relevance
    assert relevance.min() > 0.05
    assert relevance.max() < 0.25


@pytest.mark.parametrize("joint", KNOW_DISTANCES)
def test_labelled_conditions_start_as_irrelevant_beside_free_ones(joint: Joint, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(first_weights_module, "SPREAD", 0.0)
    h1, h2, same = drawn_pairs()
    similarity = started(joint, num_labelled=3)
    close = closeness(similarity, h1, h2)
    slope, offset = calibrate(close, same)
    pairs = similarity(h1, h2)
    assert pairs.relevance[:, :3].max() < 1e-3
    torch.testing.assert_close(pairs.score, torch.sigmoid(slope * close + offset), rtol=0, atol=1e-3)
    sizes = similarity.similarity.weight.abs().mean(dim=1)
    assert sizes[:3].max() < 0.5 * sizes[3:].min(), "they keep their random weights"


@pytest.mark.parametrize("joint", KNOW_DISTANCES)
def test_labelled_conditions_without_free_ones_start_as_the_distance(joint: Joint):
    alone = started(joint, num_labelled=8)
    assert torch.equal(alone.similarity.weight, started(joint).similarity.weight)
    assert torch.equal(alone.relevance.bias, torch.zeros(8))


@pytest.mark.parametrize("joint", KNOW_DISTANCES)
def test_calibrated_scores_are_probabilities_from_the_start(joint: Joint):
    h1, h2, same = drawn_pairs()
    assert pair_losses(started(joint)(h1, h2), same).mean().item() < 0.5 * math.log(2)


@pytest.fixture(params=["whiten", "l2"])
def metric_start(request: pytest.FixtureRequest, recipe: dict[str, Any], configure: Configure) -> TrialConfig:
    shrinkage = {"whitening_shrinkage": 0.8} if request.param == "whiten" else {}
    without = {key: value for key, value in recipe.items() if key != "whitening_shrinkage"}
    return configure(**without | {"normalisation": request.param, "num_conditions": 64} | shrinkage)


def test_a_model_starts_as_nearest_class_mean_on_its_normalised_features(
    noisy_task: FewShotTask, metric_start: TrialConfig
):
    features = normalised_features(noisy_task, metric_start.normalisation)
    expected = noisy_task.evaluate(nearest_class_mean(features), Split.VAL)[noisy_task.objective.name]
    assert 0.4 < expected.mean() < 0.9
    trainer = Trainer(noisy_task, metric_start, CPU)
    np.testing.assert_array_equal(trainer.normalised_features(), features)
    accuracy = trainer.evaluate(Split.VAL).questions[noisy_task.objective.name]
    assert accuracy.mean() == pytest.approx(expected.mean(), abs=0.01)
    assert abs(accuracy - expected).max() < 0.15  # a question has 30 queries


def test_without_spread_it_starts_as_nearest_class_mean_to_the_last_query(
    noisy_task: FewShotTask, metric_start: TrialConfig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(first_weights_module, "SPREAD", 0.0)
    features = normalised_features(noisy_task, metric_start.normalisation)
    expected = noisy_task.evaluate(nearest_class_mean(features), Split.TEST)[noisy_task.objective.name]
    accuracy = Trainer(noisy_task, metric_start, CPU).evaluate(Split.TEST).questions[noisy_task.objective.name]
    assert (accuracy != expected).sum() <= 2  # but for ties


def test_an_encoder_with_weights_starts_as_an_orthogonal_map(task: FewShotTask, configure: Configure):
    encoder = Trainer(task, configure(encoder="proxynca", first_weights="distance"), CPU).model.encoder
    assert isinstance(encoder, ProxyNCAEncoder)
    weight = encoder.embedding.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(8), rtol=0, atol=1e-5)
    assert not encoder.embedding.bias.any()


def test_xavier_starts_elsewhere(task: FewShotTask, recipe: dict[str, Any], configure: Configure):
    accuracy = {
        kind: Trainer(task, configure(**recipe | {"first_weights": kind}), CPU).evaluate(Split.VAL).means()
        for kind in FirstWeights
    }
    distance, xavier = (accuracy[kind][task.objective.name] for kind in (FirstWeights.DISTANCE, FirstWeights.XAVIER))
    assert distance > xavier + 0.05


@pytest.mark.parametrize("normalisation", ["l2", "standardise", "none"])
@pytest.mark.parametrize("joint", [str(joint) for joint in KNOW_DISTANCES])
@pytest.mark.parametrize("encoder", ["siamese", "proxynca"])
def test_every_normalisation_and_encoder_can_start_as_distance(
    task: FewShotTask, configure: Configure, encoder: str, joint: str, normalisation: str
):
    width = {"embedding_dim": 16} if encoder == "proxynca" else {}
    config = configure(
        encoder=encoder, joint=joint, normalisation=normalisation, first_weights="distance", scoring="log_odds", **width
    )
    assert Trainer(task, config, CPU).evaluate(Split.VAL).means()[task.objective.name] > 0.6  # chance is 0.2


def test_first_weights_come_from_the_trial_s_seed_alone(
    task: FewShotTask, recipe: dict[str, Any], configure: Configure
):
    def first(seed: int) -> Tensor:
        state = torch.get_rng_state()
        weight = Trainer(task, configure(**recipe | {"seed": seed}), CPU).model.similarity.similarity.weight
        assert torch.equal(torch.get_rng_state(), state)
        return weight.detach()

    one = first(1)
    torch.rand(100)
    assert torch.equal(first(1), one)
    assert not torch.equal(first(2), one)
