"""What every dataset's space does once trials train their backbone."""

import pickle

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, Trial

from pan_model.config import TrialConfig
from search_spaces import SPACES
from search_spaces.finetune import FINETUNE_OPEN_ENDS, FIRST_BACKBONE, NARROWED, finetuned, without_graph
from search_spaces.pan import Scalar, SearchSpace

BACKBONE = {"backbone_learning_rate", "backbone_warmup_epochs", "crop_scale_min"}
NUM_TRIALS = 60


@pytest.fixture(params=SPACES)
def frozen(request: pytest.FixtureRequest) -> SearchSpace:
    return without_graph(SPACES[request.param])


@pytest.fixture
def space(frozen: SearchSpace) -> SearchSpace:
    return finetuned(frozen)


def asked(space: SearchSpace) -> list[tuple[Trial, dict[str, Scalar]]]:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    trials = [study.ask() for _ in range(NUM_TRIALS)]
    return [(trial, space.suggest(trial)) for trial in trials]


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    found: dict[str, BaseDistribution] = {}
    for trial, _ in asked(space):
        for name, distribution in trial.distributions.items():
            assert found.setdefault(name, distribution) == distribution
    return found


def most_images_a_step(config: dict[str, Scalar]) -> int:
    if config["pairs"] == "balanced":
        return int(config["classes_per_step"]) * int(config["images_per_class"])
    return 2 * int(config["pairs_per_epoch"]) // int(config["steps_per_epoch"])


def test_it_asks_what_the_frozen_space_asks_and_three_things_more(space: SearchSpace, frozen: SearchSpace):
    found, of_frozen = distributions(space), distributions(frozen)
    assert found.keys() == of_frozen.keys() | BACKBONE
    assert found["backbone_learning_rate"] == FloatDistribution(1e-6, 1e-3, log=True)
    assert found["backbone_warmup_epochs"] == CategoricalDistribution((0, 1, 5))
    for name, distribution in of_frozen.items():
        if name in NARROWED:
            assert isinstance(distribution, CategoricalDistribution)
            left = tuple(choice for choice in distribution.choices if choice in NARROWED[name])
            assert found[name] == CategoricalDistribution(left)
        else:
            assert found[name] == distribution


def test_steps_and_epochs_have_a_bounded_number_of_images(space: SearchSpace):
    most = [most_images_a_step(config) for _, config in asked(space)]
    steps = [int(config["steps_per_epoch"]) for _, config in asked(space)]
    assert max(most) == 64
    assert max(steps) == 16
    written = [space.suggest(FixedTrial(params)) for params in space.first_trials]
    assert max(most_images_a_step(config) for config in written) <= 64


def test_whatever_is_suggested_is_a_valid_configuration_of_the_library(space: SearchSpace):
    for trial, config in asked(space):
        assert trial.params.items() <= config.items()
        flat = config | {"max_epochs": 2, "seed": 0}
        assert TrialConfig.from_flat(flat).to_flat() == flat
        assert space.suggest(FixedTrial(trial.params)) == config


def test_first_trials_are_the_frozen_ones_with_a_backbone_that_learns(space: SearchSpace, frozen: SearchSpace):
    assert len(space.first_trials) == len(frozen.first_trials)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    for params in space.first_trials:
        study.enqueue_trial(params)
    found = distributions(space)
    for params, of_frozen in zip(space.first_trials, frozen.first_trials, strict=True):
        trial = study.ask()
        config = space.suggest(trial)  # a value out of its range would warn, and a warning is an error
        assert trial.params == params
        assert trial.distributions == {name: found[name] for name in params}
        TrialConfig.from_flat(config | {"max_epochs": 1, "seed": 0})
        assert FIRST_BACKBONE.items() <= params.items()
        changed = {name for name, value in of_frozen.items() if params[name] != value}
        assert changed <= {"pairs", "steps_per_epoch"}
        assert params.keys() == of_frozen.keys() | BACKBONE


def test_the_baseline_and_the_size_of_a_study_stay_what_they_are(space: SearchSpace, frozen: SearchSpace):
    assert (space.paper_setting, space.num_trials, space.max_epochs) == (
        frozen.paper_setting,
        frozen.num_trials,
        frozen.max_epochs,
    )


def test_open_ends_are_ends_of_ranges(space: SearchSpace):
    for name, ends in FINETUNE_OPEN_ENDS.items():
        assert isinstance(distributions(space)[name], FloatDistribution)
        assert set(ends) <= {"low", "high"}


def test_a_space_can_be_sent_and_known_again(space: SearchSpace, frozen: SearchSpace):
    assert pickle.loads(pickle.dumps(space)).suggest == space.suggest
    assert hash(finetuned(frozen).suggest) == hash(space.suggest)
