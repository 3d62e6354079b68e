"""What every search space does: a new row of SPACES is tested by being there."""

import json
import os
import subprocess
import sys

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, Trial

from pan_model.conditions import Supervision
from pan_model.config import TrialConfig
from pan_model.data.registry import DATASETS
from pan_model.encoders import ENCODERS
from pan_model.errors import BadInput
from pan_model.gates import Gate
from pan_model.normalisation import NormalisationKind
from pan_model.pairs import PairSampling
from pan_model.similarity import Joint
from search_spaces import SPACES
from search_spaces.pan import Scalar, SearchSpace

LABELLED = {"gate", "lambda"}
PROXIES = {"embedding_dim", "temperature", "proxy_learning_rate_factor", "proxy_loss_weight"}
SUGGEST = """
import json, sys, optuna
from search_spaces import SPACES
optuna.logging.set_verbosity(optuna.logging.ERROR)
suggestions = {}
for name, space in SPACES.items():
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=int(sys.argv[1]), n_startup_trials=3))
    suggestions[name] = []
    for number in range(6):
        trial = study.ask()
        suggestions[name].append(space.suggest(trial))
        study.tell(trial, number)
print(json.dumps(suggestions))
"""


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES[request.param]


def asked(space: SearchSpace, num_trials: int, seed: int = 0) -> list[tuple[Trial, dict[str, Scalar]]]:
    """Trials of a random sampler, and what the space suggested in each."""
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    trials = [study.ask() for _ in range(num_trials)]
    return [(trial, space.suggest(trial)) for trial in trials]


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """What a space asks for in any of many trials; a parameter has one range wherever it is asked for."""
    found: dict[str, BaseDistribution] = {}
    for trial, _ in asked(space, 60):
        for name, distribution in trial.distributions.items():
            assert found.setdefault(name, distribution) == distribution
    return found


def test_every_dataset_has_a_space():
    assert SPACES.keys() == DATASETS.keys()


def test_spaces_import_neither_torch_nor_ray():
    code = "import sys, search_spaces; print(sorted({'torch', 'ray', 'pan_model'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_ranges_are_those_of_the_study(space: SearchSpace):
    found = distributions(space)
    assert found["num_conditions"] == IntDistribution(1, 512, log=True)
    assert found["lambda"] == FloatDistribution(1e-5, 10.0, log=True)
    assert found["gate"] == CategoricalDistribution(("AND", "OR", "XOR", "XNOR", "NOR", "NAND", "AND_XOR"))
    assert {name for name, d in found.items() if not isinstance(d, CategoricalDistribution) and d.log} >= {
        "num_conditions",
        "lambda",
        "learning_rate",
        "temperature",
        "proxy_learning_rate_factor",
        "proxy_loss_weight",
    }


def test_choices_are_those_of_the_library(space: SearchSpace):
    found = distributions(space)
    choices = {name: d.choices for name, d in found.items() if isinstance(d, CategoricalDistribution)}
    for name, kind in {
        "supervision": Supervision,
        "gate": Gate,
        "joint": Joint,
        "normalisation": NormalisationKind,
        "pairs": PairSampling,
    }.items():
        assert set(choices[name]) == set(kind)
    assert set(choices["encoder"]) <= set(ENCODERS)


def test_gate_and_lambda_are_suggested_with_labels_and_proxies_with_proxynca_only(space: SearchSpace):
    seen = set()
    for _, config in asked(space, 60):
        labelled, proxies = config["supervision"] != "unsupervised", config["encoder"] == "proxynca"
        assert config.keys() & LABELLED == (LABELLED if labelled else set())
        assert config.keys() & PROXIES == (PROXIES if proxies else set())
        seen.add((config["supervision"], config["encoder"]))
    assert len(seen) == 6


def test_whatever_is_suggested_is_a_valid_configuration_of_the_library(space: SearchSpace):
    for trial, config in asked(space, 60):
        assert trial.params.items() <= config.items()
        flat = TrialConfig.from_flat(config | {"max_epochs": 2, "seed": 0}).to_flat()
        assert flat == config | {"max_epochs": 2, "seed": 0}


def test_an_epoch_has_the_same_number_of_pairs_in_every_trial(space: SearchSpace):
    (number,) = {config["pairs_per_epoch"] for _, config in asked(space, 20)}
    assert type(number) is int
    assert number >= 2


@pytest.mark.parametrize("num_conditions", [1, 512])
@pytest.mark.parametrize("lambda_", [1e-5, 10.0])
def test_the_ends_of_the_ranges_can_be_tried(space: SearchSpace, num_conditions: int, lambda_: float):
    (_, config) = next(pair for pair in asked(space, 60) if pair[1].keys() >= LABELLED | PROXIES)
    ends = config | {"num_conditions": num_conditions, "lambda": lambda_}
    replayed = space.suggest(FixedTrial(ends))
    assert replayed == ends
    conditions = TrialConfig.from_flat(replayed | {"max_epochs": 1, "seed": 0}).conditions
    assert (conditions.num_conditions, conditions.lambda_) == (num_conditions, lambda_)


def test_a_replayed_trial_is_the_suggested_one(space: SearchSpace):
    for trial, config in asked(space, 20):
        assert space.suggest(FixedTrial(trial.params)) == config


def test_first_trials_lie_in_the_space_and_come_back_as_they_were_written(space: SearchSpace):
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    for params in space.first_trials:
        study.enqueue_trial(params)
    for params in space.first_trials:
        trial = study.ask()
        config = space.suggest(trial)  # a value out of its range would warn, and a warning is an error
        assert trial.params == params
        TrialConfig.from_flat(config | {"max_epochs": space.max_epochs, "seed": 0})


def test_first_trials_are_the_papers_recipe(space: SearchSpace):
    recipe = {
        "encoder": "siamese",
        "joint": "absdiff",
        "normalisation": "standardise",
        "learning_rate": 1e-3,
        "pairs": "fixed",
        "batch_size": 0,
    }
    assert space.first_trials
    assert all(recipe.items() <= params.items() for params in space.first_trials)


def test_cub_starts_with_the_papers_numbers_of_conditions():
    first = [(params["supervision"], params["num_conditions"]) for params in SPACES["cub"].first_trials]
    assert set(first) == {("unsupervised", 50), ("supervised", 312), ("hybrid", 20)}
    assert {params["lambda"] for params in SPACES["cub"].first_trials if "lambda" in params} == {1e-5}


def test_defaults_of_a_study():
    assert {name: space.num_trials for name, space in SPACES.items()} == {
        name: 16 if name == "demo" else 64 for name in SPACES
    }
    assert all(space.max_epochs >= 1 for space in SPACES.values())


def test_labels_that_a_space_leaves_out_are_indeed_refused(space: SearchSpace):
    (_, config) = next(pair for pair in asked(space, 60) if pair[1]["supervision"] == "unsupervised")
    with pytest.raises(BadInput, match="supervision unsupervised has no labels"):
        TrialConfig.from_flat(config | {"gate": "OR", "lambda": 1.0, "max_epochs": 1, "seed": 0})


def test_same_seed_gives_the_same_suggestions_in_two_processes_and_another_seed_others():
    def suggestions(seed: int, hash_seed: int) -> dict[str, list[dict[str, Scalar]]]:
        environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
        command = [sys.executable, "-c", SUGGEST, str(seed)]
        return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    one = suggestions(1, 10)
    assert one.keys() == SPACES.keys()
    assert suggestions(1, 20) == one
    assert suggestions(2, 10) != one
