"""Test that a trial in the straight form is the trial of a study, and how both are judged."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from search_spaces import SPACES
from search_spaces.pan import distance_trial, paper_trial

CONFIGS = (
    paper_trial("supervised", 9, gate="OR", lambda_=0.1),
    paper_trial("hybrid", 12, gate="AND_XOR", lambda_=1.0, joint="concat", hard_pair_share=0.5, positive_weight=0.3),
    distance_trial("unsupervised", 4, scoring="log_odds", weight_decay=0.1, start_decay=1.0),
    distance_trial("hybrid", 8, gate="XNOR", lambda_=0.1, joint="absdiff"),
)


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Let the scripts import each other, as when they are run."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def items():
    generator = np.random.default_rng(0)
    classes = np.arange(300) % 30
    attributes = generator.random((30, 12))[classes] < 0.4
    return FeaturedItems(
        features=(generator.normal(size=(30, 16))[classes] + generator.normal(size=(300, 16))).astype(np.float32),
        classes=classes,
        attributes=attributes,
        certain=generator.random(attributes.shape) < 0.9,
        attribute_names=tuple(f"attribute {number}" for number in range(12)),
        splits={split: np.flatnonzero(classes % 3 == place) for place, split in enumerate(Split)},
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config['joint']}-{config['scoring']}")
def test_without_dropout_the_straight_trial_is_the_trial_of_a_study(items, config):
    from judge import draw_random_episodes, judge
    from straight import StraightTrial

    flat = {**config, "pairs_per_epoch": 512, "max_epochs": 2, "seed": 3}
    straight = StraightTrial(items, TrialConfig.from_flat(flat), torch.device("cpu"))
    losses = [straight.train_epoch() for _ in range(2)]
    episodes = draw_random_episodes(items, 40)
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(straight.evaluate(episodes), judge(items, flat, 2, episodes), atol=0.03)


@pytest.mark.parametrize("config", SPACES["cub"].first_trials[-1:])
def test_dropout_does_not_change_what_the_straight_trial_learns(items, config):
    from judge import draw_random_episodes, judge
    from straight import StraightTrial

    flat = {**config, "pairs_per_epoch": 512, "max_epochs": 2, "seed": 3}
    flat |= {"dropout": 0.3, "feature_dropout": 0.2, "condition_dropout": 0.2}
    straight = StraightTrial(items, TrialConfig.from_flat(flat), torch.device("cpu"))
    for _ in range(2):
        straight.train_epoch()
    episodes = draw_random_episodes(items, 100)
    assert straight.evaluate(episodes).mean() == pytest.approx(judge(items, flat, 2, episodes).mean(), abs=0.05)


def test_episodes_are_of_val_and_a_short_class_has_fewer_queries(items):
    from judge import draw_random_episodes

    episodes = draw_random_episodes(items, 30)
    assert set(items.classes[episodes.queries].ravel()) <= set(items.classes[items.splits[Split.VAL]])
    assert (episodes.answers >= 0).sum(axis=1).tolist() == [25] * 30  # classes have 10 items, 5 of them support
    for support, queries, answers in zip(*episodes, strict=True):
        asked = answers >= 0
        assert not np.intersect1d(support, queries[asked]).size
        assert (items.classes[queries[asked]] == items.classes[support[:, 0]][answers[asked]]).all()


def test_judging_as_a_command_prints_the_accuracies(items, tmp_path, monkeypatch, capsys):
    import judge as module
    from prepared import save_items

    save_items(items, tmp_path)
    config = {**CONFIGS[2], "pairs_per_epoch": 64, "max_epochs": 1, "seed": 0}
    (tmp_path / "best.json").write_text(json.dumps({"config": config, "metric": {"epoch": 1}}))
    command = ("judge.py", str(tmp_path), str(tmp_path / "best.json"), "--episodes", "7", "--seed", "0", "2", "7")
    monkeypatch.setattr(sys, "argv", list(command))
    module.main()
    accuracies = json.loads(capsys.readouterr().out)
    expected = module.judge(items, config, 1, module.draw_random_episodes(items, 7, [0, 2, 7]))
    assert accuracies == expected.tolist()


def test_a_winner_is_no_worse_within_the_interval_of_the_difference():
    from two_checkouts import accuracy_row

    noise = np.random.default_rng(0).normal(0, 0.1, 100)
    peer = np.full(100, 0.9)
    assert accuracy_row("equal", peer + noise - noise.mean() - 0.01, peer).reached
    assert not accuracy_row("worse", peer + noise - noise.mean() - 0.03, peer).reached


def test_only_trials_that_are_better_than_those_before_count_as_winners():
    from as_shipped import Trial, better_than_before

    trials = [Trial(float(time), value, 1, {}) for time, value in enumerate((0.3, 0.2, 0.5, 0.5, 0.6))]
    assert [trial.seconds for trial in better_than_before(trials)] == [0, 2, 4]
