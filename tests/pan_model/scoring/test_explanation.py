"""Explanations: contributions add up to the score of every model, and names say what conditions follow."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.model.conditions import Followed
from pan_model.model.pan import Pan, Scoring
from pan_model.model.similarity import ConditionSimilarity, Joint, SimilarityConfig
from pan_model.scoring.explanation import (
    describe_labelled,
    describe_limits,
    explain_embedded,
    explain_pairs,
    read_labelled,
)

Configure = Callable[..., TrialConfig]
Build = Callable[[TrialConfig], Pan]


@pytest.mark.parametrize("scoring", Scoring)
def test_contributions_add_up_to_the_score_of_every_model(
    build: Build, configure: Configure, featured: FeaturedItems, case: dict[str, Any], scoring: Scoring
):
    model = build(configure(**case | {"scoring": str(scoring)})).train()
    one, other = torch.tensor(featured.features[:5]), torch.tensor(featured.features[9:14])
    explanations = explain_pairs(model, one, other)
    pairs = model.eval()(one, other)
    for number, explained in enumerate(explanations):
        assert sum(part.contribution for part in explained.conditions) == pytest.approx(explained.score, abs=1e-12)
        assert explained.score == pytest.approx(pairs.score[number].item(), abs=1e-5)
        by_name = {part.name: part for part in explained.conditions}
        for place, name in enumerate(model.condition_names):
            assert by_name[name].similarity == pytest.approx(pairs.similarity[number, place].item(), abs=1e-5)
            assert by_name[name].relevance == pytest.approx(pairs.relevance[number, place].item(), abs=1e-5)
        contributions = [part.contribution for part in explained.conditions]
        assert contributions == sorted(contributions, reverse=True)
        assert explained.rest(2) == pytest.approx(sum(contributions[2:]))
        assert [part.name for part in explained.top(2)] == [part.name for part in explained.conditions[:2]]


@given(seed=st.integers(0, 2**16), scale=st.sampled_from([0.1, 1.0, 30.0, 1e4]), joint=st.sampled_from(Joint))
def test_scores_stay_in_their_range_however_large_the_weights(
    build: Build, configure: Configure, seed: int, scale: float, joint: Joint
):
    model = build(configure())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.similarity = ConditionSimilarity(SimilarityConfig(joint=joint), embedding_dim=16, num_conditions=6)
        one, other = scale * torch.randn(3, 16), scale * torch.randn(3, 16)
    for explained in explain_embedded(model, one, other):
        assert 0 <= explained.score <= 1
        assert sum(part.relevance for part in explained.conditions) == pytest.approx(1, abs=1e-12)
        assert sum(part.contribution for part in explained.conditions) == pytest.approx(explained.score, abs=1e-12)


def test_labelled_conditions_are_told_from_unsupervised_ones(
    build: Build, configure: Configure, featured: FeaturedItems, everything: dict[str, Any]
):
    model = build(configure(**everything))
    model.followed = {"unsupervised_2": Followed(attribute="XNOR(a1)", strength=0.714)}
    one, other = torch.tensor(featured.features[:1]), torch.tensor(featured.features[9:10])
    (explained,) = explain_pairs(model, one, other)
    displays = {part.name: part.display for part in explained.conditions}
    assert displays["unsupervised_2"] == "unsupervised_2 (follows XNOR(a1), 0.71)"
    assert displays["unsupervised_1"] == "unsupervised_1"
    labelled = [part for part in explained.conditions if part.labelled]
    assert len(labelled) == 5
    assert all(part.name.startswith(("AND(", "XOR(")) for part in labelled)
    assert explained.labelled_contribution == pytest.approx(sum(part.contribution for part in labelled))
    assert explained.labelled_relevance == pytest.approx(sum(part.relevance for part in labelled))


def test_a_labelled_condition_that_learnt_nothing_says_so_and_is_not_read(
    build: Build, configure: Configure, featured: FeaturedItems, everything: dict[str, Any]
):
    model = build(configure(**everything))
    with torch.no_grad():  # all relevance lies in the last condition
        model.similarity.relevance.weight.zero_()
        model.similarity.relevance.bias.fill_(-20.0)[-1] = 20.0
    one, other = torch.tensor(featured.features[:1]), torch.tensor(featured.features[9:10])
    labelled = [name for name in model.condition_names if not name.startswith("unsupervised")]
    (explained,) = explain_pairs(model, one, other)
    assert explained.is_idle
    assert read_labelled(explained, 3) == ()  # not known
    model.followed = {name: Followed(attribute=name, strength=0.02) for name in labelled}
    (explained,) = explain_pairs(model, one, other)
    assert {part.display for part in explained.conditions if part.labelled} == {
        f"{name} (does not follow its label, 0.02)" for name in labelled
    }
    assert read_labelled(explained, 3) == ()
    assert describe_labelled(explained, is_measured=True) == [
        "the labelled conditions (5) contribute 0.00% of the score: the attributes hardly explain it",
        "nor do they follow their labels on training images (correlations up to 0.02), so they tell nothing of this "
        "pair",
    ]
    model.followed[labelled[0]] = Followed(attribute=labelled[0], strength=0.6)
    model.followed[labelled[-1]] = Followed(attribute=labelled[-1], strength=0.6)
    (explained,) = explain_pairs(model, one, other)
    readings = read_labelled(explained, 3)
    similarity = {part.name: part.similarity for part in explained.conditions}
    assert {reading.text: reading.value for reading in readings} == {
        f"both have {labelled[0][4:-1]}": similarity[labelled[0]],
        f"agree on {labelled[-1][4:-1]}": 1 - similarity[labelled[-1]],
    }
    assert len(describe_labelled(explained, is_measured=True)) == 1


def test_the_share_of_labelled_conditions_is_stated(build: Build, configure: Configure, featured: FeaturedItems):
    features = torch.tensor(featured.features[:1]), torch.tensor(featured.features[9:10])
    supervised = build(configure(supervision="supervised", gate="OR", lambda_=1.0, num_conditions=3))
    (line,) = describe_labelled(explain_pairs(supervised, *features)[0], is_measured=False)
    assert line == "the labelled conditions (3) contribute 100% of the score"
    free = build(configure())
    (line,) = describe_labelled(explain_pairs(free, *features)[0], is_measured=True)
    assert line == "no condition of the model has labels, so attributes do not explain the score"


def test_limits_are_stated(build: Build, configure: Configure):
    model = build(configure(encoder="graph", scoring="log_odds", graph_layers=1, graph_width=4))
    assert [line.split(";")[0] for line in describe_limits(model)] == [
        "the encoder uses a graph",
        "the score shown is p",
        "which labels the conditions follow was not measured",
    ]
    model = build(configure())
    model.followed = {}
    assert describe_limits(model) == []
