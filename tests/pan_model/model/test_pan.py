import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.model.encoders import ENCODERS
from pan_model.model.pan import Pan, Scoring
from pan_model.model.similarity import Joint

Configure = Callable[..., TrialConfig]
Build = Callable[[TrialConfig], Pan]


@pytest.fixture
def features(featured: FeaturedItems) -> torch.Tensor:
    return torch.tensor(featured.features)


@pytest.mark.parametrize("scoring", Scoring)
@pytest.mark.parametrize("joint", Joint)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_pairs_are_scored_as_the_model_scores_their_features(
    encoder: str, joint: Joint, scoring: Scoring, build: Build, configure: Configure, features: torch.Tensor
):
    model = build(configure(encoder=encoder, joint=str(joint), scoring=str(scoring)))
    index_1, index_2 = np.array([3, 9, 9, 0, 9, 5]), np.array([9, 3, 3, 1, 9, 4])
    with torch.inference_mode():
        pairs = model(features[index_1], features[index_2])
        expected = (pairs.score if scoring is Scoring.PAIR_MEAN else pairs.log_odds).numpy()
        scores = model.score_pairs(model.embed(features), index_1, index_2)
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)
    assert (scores[0] == scores[1]) == joint.symmetric
    assert scores[1] == scores[2]


@pytest.mark.parametrize("joint", Joint)
def test_scores_do_not_depend_on_how_many_pairs_are_scored_at_once(
    build: Build, configure: Configure, features: torch.Tensor, joint: Joint
):
    model = build(configure(joint=str(joint)))
    index_1, index_2 = np.random.default_rng(0).integers(len(features), size=(2, 100))
    whole = model.score_pairs(model.embed(features), index_1, index_2)
    pieces = model.score_pairs(model.embed(features), index_1, index_2, chunk_size=7)
    np.testing.assert_allclose(pieces, whole, rtol=1e-6)


def test_no_pairs_have_no_scores(build: Build, configure: Configure, features: torch.Tensor):
    model = build(configure())
    none = np.empty(0, dtype=np.int64)
    assert model.score_pairs(model.embed(features), none, none).shape == (0,)


def test_model_has_a_name_for_each_condition(build: Build, configure: Configure, features: torch.Tensor):
    model = build(configure(supervision="hybrid", gate="OR", lambda_=1.0, num_conditions=5))
    assert len(model.condition_names) == 5
    assert [name.split("(")[0] for name in model.condition_names] == ["OR"] * 3 + ["unsupervised_1", "unsupervised_2"]
    assert model(features[:2], features[2:4]).similarity.shape == (2, 5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_first_weights_depend_on_the_seed_alone(encoder: str, build: Build, configure: Configure):
    torch.manual_seed(1)
    one = build(configure(encoder=encoder, seed=7)).state_dict()
    torch.manual_seed(2)
    torch.rand(1000)
    state = torch.get_rng_state()
    again = build(configure(encoder=encoder, seed=7)).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], again[key]) for key in one)
    other = build(configure(encoder=encoder, seed=8)).state_dict()
    assert not torch.equal(one["similarity.similarity.weight"], other["similarity.similarity.weight"])


def test_embedding_is_encoding_of_normalised_features(case: dict[str, Any], build: Build, configure: Configure):
    model = build(configure(**case))
    drawn = torch.randn(9, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.embed(drawn), model.encode(model.normalisation(drawn)))


def test_feature_dropout_falls_on_normalised_features_in_training_only(build: Build, configure: Configure):
    model = build(configure(feature_dropout=0.25, normalisation="none"))
    ones = torch.ones(500, 16)
    assert torch.equal(model.encode(ones), ones)
    model.train()
    dropped = model.encode(ones)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (dropped == 0).double().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (model.embed(ones) == 0).any()


def test_every_weight_is_in_exactly_one_group_and_what_is_fitted_in_none(
    case: dict[str, Any], build: Build, configure: Configure
):
    model = build(configure(**case))
    groups = model.parameter_groups(0.125)
    grouped = [id(weight) for group in groups for weight in torch.optim.AdamW([group]).param_groups[0]["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in model.parameters())
    assert groups[0]["lr"] == 0.125
    assert not list(model.normalisation.parameters())


def test_a_saved_model_scores_features_as_they_were_extracted(
    case: dict[str, Any], build: Build, configure: Configure, features: torch.Tensor
):
    model = build(configure(**case))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    config = configure(**case | {"seed": 5})
    blank = Pan(
        config.model, feature_dim=16, num_classes=model.num_classes, condition_names=model.condition_names
    ).eval()
    blank.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(blank(features[:9], features[9:18]).score, model(features[:9], features[9:18]).score)
