"""What every search space does: a new row of SPACES is tested by being there, more in tests/contracts."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, Trial

from pan_model.config import TrialConfig
from pan_model.datasets import DATASETS
from pan_model.errors import UserError
from pan_model.model.conditions import Supervision
from pan_model.model.encoders import ENCODERS
from pan_model.model.encoders.graph import GraphConfig
from pan_model.model.encoders.proxynca import ProxyNCAConfig
from pan_model.model.encoders.siamese import Projection, SiameseConfig
from pan_model.model.gates import Gate
from pan_model.model.normalisation import NormalisationConfig, NormalisationKind
from pan_model.model.pan import Scoring, ScoringConfig
from pan_model.model.similarity import FirstWeights, Joint, SimilarityConfig
from pan_model.tasks.pairs import PairSampling, PairsConfig
from pan_model.training.optimisation import Schedule, TrainConfig
from search_spaces import RETRIEVAL_SPACES, SPACES, UNLABELLED_RETRIEVAL_SPACES, UNLABELLED_SPACES
from search_spaces.pan import (
    FITTED_SCORINGS,
    GRAPH_BASELINE,
    OPEN_ENDS,
    RETRIEVAL_SCORINGS,
    Scalar,
    SearchSpace,
    distance_trial,
    paper_trial,
)

LABELLED = {"gate", "lambda"}
PROXIES = {"embedding_dim", "temperature", "proxy_learning_rate_factor", "proxy_loss_weight"}
GRAPH = {"graph_layers", "graph_width", "layer_dropout", "support_dropout", "edge_dropout"}
CONTEXT = {"graph_context"}
OF_ENCODER = {"siamese": {"projection"}, "proxynca": PROXIES, "graph": GRAPH}
BATCHES = {"classes_per_step", "images_per_class"}
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


def widest(name: str) -> SearchSpace:
    return SPACES[name].among(SPACES[name].supported)


EVERY_SPACE = {name: SPACES[name] for name in SPACES} | {
    f"{name}, all encoders": widest(name) for name in SPACES if SPACES[name].more_encoders
}


@pytest.fixture(params=EVERY_SPACE)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return EVERY_SPACE[request.param]


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


def offers(space: SearchSpace, name: str, choice: str) -> bool:
    distribution = distributions(space)[name]
    assert isinstance(distribution, CategoricalDistribution)
    return choice in distribution.choices


def not_offered(space: SearchSpace) -> set[str]:
    """The parameters of encoders and samplings that a dataset does not support."""
    absent = [names for encoder, names in OF_ENCODER.items() if not offers(space, "encoder", encoder)]
    no_context = set[str]() if "graph_context" in distributions(space) else CONTEXT
    fitted = set[str]() if offers(space, "scoring", "embedding_classifier") else {"classifier_c"}
    fitted |= set[str]() if offers(space, "scoring", "mixture") else {"mixture_weight"}
    predicted = set[str]() if offers(space, "projection", "attributes") else {"attribute_share"}
    return set[str]().union(*absent, no_context, fitted, predicted) | (
        set[str]() if offers(space, "pairs", "balanced") else BATCHES
    )


def test_spaces_import_neither_torch_nor_ray():
    code = "import sys, search_spaces; print(sorted({'torch', 'ray', 'pan_model'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_ranges_are_those_of_the_study(space: SearchSpace):
    found = distributions(space)
    assert found["num_conditions"] == IntDistribution(1, 512, log=True)
    assert found["lambda"] == FloatDistribution(1e-5, 10.0, log=True)
    assert found["gate"] == CategoricalDistribution(("AND", "OR", "XOR", "XNOR", "NOR", "NAND", "AND_XOR"))
    numeric = {name: d for name, d in found.items() if isinstance(d, IntDistribution | FloatDistribution)}
    assert {name for name, distribution in numeric.items() if distribution.log} == {
        "num_conditions",
        "lambda",
        "learning_rate",
        "temperature",
        "proxy_learning_rate_factor",
        "proxy_loss_weight",
        "classifier_c",
    } - not_offered(space)
    assert numeric.keys() - {name for name, distribution in numeric.items() if distribution.log} == {
        "whitening_shrinkage",
        "mixture_weight",
        "attribute_share",
        "positive_weight",
        "dropout",
        "feature_dropout",
        "condition_dropout",
        "graph_layers",
        "layer_dropout",
        "support_dropout",
        "edge_dropout",
    } - not_offered(space)


def test_choices_are_those_of_the_library(space: SearchSpace):
    found = distributions(space)
    choices = {name: d.choices for name, d in found.items() if isinstance(d, CategoricalDistribution)}
    for name, kind in {
        "supervision": Supervision,
        "gate": Gate,
        "normalisation": NormalisationKind,
        "joint": Joint,
        "first_weights": FirstWeights,
        "schedule": Schedule,
    }.items():
        assert set(choices[name]) == set(kind)
    assert set(choices["projection"]) in (set(Projection), set(Projection) - {Projection.ATTRIBUTES})
    fitted = {scoring for scoring in Scoring if scoring.is_fitted}
    assert set(choices["scoring"]) in (set(Scoring), set(Scoring) - fitted, set(RETRIEVAL_SCORINGS))
    assert set(FITTED_SCORINGS) == fitted
    assert set(choices["encoder"]) <= set(ENCODERS)
    assert set(choices["pairs"]) <= set(PairSampling)
    assert all(len(set(of_one)) == len(of_one) > 1 for name, of_one in choices.items() if name != "encoder")


def test_scorings_that_are_fitted_to_classes_are_searched_for_few_shot_questions_only():
    offering = {name for name, space in SPACES.items() if offers(space, "scoring", "embedding_classifier")}
    assert offering == {"cub", "folder"}


OF_GALLERIES = {
    **RETRIEVAL_SPACES,
    **{f"{name}, unlabelled": space for name, space in UNLABELLED_RETRIEVAL_SPACES.items()},
    "inshop": SPACES["inshop"],
}


@pytest.mark.parametrize("name", OF_GALLERIES)
def test_a_gallery_is_scored_by_log_odds_by_a_mixture_that_fits_nothing_or_as_in_the_paper(name: str):
    space = OF_GALLERIES[name]
    found = distributions(space)
    assert found["scoring"] == CategoricalDistribution(("mixture", "log_odds", "pair_mean"))
    assert found["mixture_weight"] == FloatDistribution(0.0, 1.0)
    assert "classifier_c" not in found
    first = [space.suggest(FixedTrial(trial)) for trial in space.first_trials]
    assert {"log_odds", "pair_mean"} <= {config["scoring"] for config in first}
    assert all("classifier_c" not in config for config in first)


def test_attributes_are_predicted_where_images_have_some_and_no_study_of_version_0_1_is_left_behind():
    labelled = {name for name, space in SPACES.items() if offers(space, "projection", "attributes")}
    assert labelled == {"cub", "inshop", "folder"}
    for spaces in (UNLABELLED_SPACES, UNLABELLED_RETRIEVAL_SPACES):
        assert not any(offers(space, "projection", "attributes") for space in spaces.values())


def test_every_dataset_with_a_choice_of_the_task_has_a_space_for_retrieval():
    both = {name for name, dataset in DATASETS.items() if dataset.other_tasks}
    assert set(RETRIEVAL_SPACES) == both
    assert set(UNLABELLED_RETRIEVAL_SPACES) == set(UNLABELLED_SPACES)


CONDITIONAL: dict[str, Callable[[dict[str, Scalar]], bool]] = {
    **dict.fromkeys(LABELLED, lambda config: config["supervision"] != "unsupervised"),
    **dict.fromkeys(PROXIES, lambda config: config["encoder"] == "proxynca"),
    **dict.fromkeys(GRAPH | CONTEXT, lambda config: config["encoder"] == "graph"),
    **dict.fromkeys(BATCHES, lambda config: config["pairs"] == "balanced"),
    "projection": lambda config: config["encoder"] == "siamese",
    "attribute_share": lambda config: config.get("projection") == "attributes",
    "whitening_shrinkage": lambda config: config["normalisation"] == "whiten",
    "classifier_c": lambda config: config["scoring"] in FITTED_SCORINGS,  # where there are classes to fit them to
    "mixture_weight": lambda config: config["scoring"] == "mixture",
}
"""When a parameter is suggested that is not always."""


def test_what_depends_on_a_choice_is_suggested_where_it_applies_only(space: SearchSpace):
    keys: set[str] = set()
    conditional = {name: CONDITIONAL[name] for name in CONDITIONAL.keys() - not_offered(space)}
    seen = {name: set[bool]() for name in conditional}
    for _, config in asked(space, 60):
        keys |= config.keys()
        for name, applies in conditional.items():
            assert (name in config) == applies(config)
            seen[name].add(name in config)
    assert all(len(both) == 2 for both in seen.values())
    always = set.intersection(*(set(config) for _, config in asked(space, 60)))
    assert keys == always | conditional.keys()


def test_first_weights_are_searched_where_joint_and_encoder_know_distances_and_xavier_elsewhere(space: SearchSpace):
    seen: set[tuple[Scalar, Scalar]] = set()
    for trial, config in asked(space, 60):
        searched = config["joint"] != "concat" and config["encoder"] != "graph"
        assert ("first_weights" in trial.params) == searched
        assert searched or config["first_weights"] == "xavier"
        if config["encoder"] != "graph":
            seen.add((config["joint"], config["first_weights"]))
    know_distances = {(joint, first) for joint in ("absdiff", "product") for first in ("distance", "xavier")}
    assert seen == know_distances | {("concat", "xavier")}


def test_supervisions_and_encoders_come_in_all_combinations(space: SearchSpace):
    encoders = distributions(space)["encoder"]
    assert isinstance(encoders, CategoricalDistribution)
    seen = {(config["supervision"], config["encoder"]) for _, config in asked(space, 60)}
    assert len(seen) == 3 * len(encoders.choices)


def test_open_ends_are_ends_of_ranges_and_no_natural_limits(space: SearchSpace):
    found = distributions(space)
    limits = {"whitening_shrinkage": ("high", 1.0), "num_conditions": ("low", 1)}
    for name in OPEN_ENDS.keys() - not_offered(space):
        distribution, ends = found[name], OPEN_ENDS[name]
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        assert ends
        assert len(set(ends)) == len(ends)
        assert set(ends) <= {"low", "high"}
        if name in limits:
            end, limit = limits[name]
            assert end not in ends
            assert getattr(distribution, end) == limit


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
    config = next(config for _, config in asked(space, 60) if config.keys() >= LABELLED)
    ends = config | {"num_conditions": num_conditions, "lambda": lambda_}
    replayed = space.suggest(FixedTrial(ends))
    assert replayed == ends
    conditions = TrialConfig.from_flat(replayed | {"max_epochs": 1, "seed": 0}).conditions
    assert (conditions.num_conditions, conditions.lambda_) == (num_conditions, lambda_)


def test_a_replayed_trial_is_the_suggested_one(space: SearchSpace):
    for trial, config in asked(space, 20):
        assert space.suggest(FixedTrial(trial.params)) == config


def written_trials(space: SearchSpace) -> list[dict[str, Scalar]]:
    return [*space.first_trials, space.paper_setting]


def test_first_trials_and_paper_setting_can_be_replayed(space: SearchSpace):
    for params in written_trials(space):
        config = space.suggest(FixedTrial(params))
        assert params.items() <= config.items()
        fixed = {"pairs_per_epoch"} | ({"first_weights"} if config["encoder"] == "graph" else set[str]())
        assert config.keys() - params.keys() == fixed


def read(space: SearchSpace, params: dict[str, Scalar]) -> TrialConfig:
    return TrialConfig.from_flat(space.suggest(FixedTrial(params)) | {"max_epochs": 1, "seed": 0})


OUTFIT_GRAPH = GraphConfig(
    graph_layers=2, graph_width=200, layer_dropout=0.5, support_dropout=0.15, edge_dropout=0.15, graph_context=0
)
CUB_GRAPH = GraphConfig(graph_layers=3, graph_width=350, layer_dropout=0.5, support_dropout=0.15)


def is_the_papers(config: TrialConfig) -> bool:
    """The library's defaults are the paper's, but for its full batches of pairs drawn once, and dropout on Polyvore."""
    return config.encoder in (SiameseConfig(), ProxyNCAConfig(embedding_dim=1024), OUTFIT_GRAPH, CUB_GRAPH) and (
        config.normalisation,
        config.similarity,
        config.scoring,
        config.pairs,
        config.train,
    ) == (
        NormalisationConfig(normalisation=NormalisationKind.STANDARDISE),
        SimilarityConfig(joint=Joint.ABSDIFF, first_weights=FirstWeights.XAVIER, dropout=config.similarity.dropout),
        ScoringConfig(scoring=Scoring.PAIR_MEAN),
        PairsConfig(pairs=PairSampling.FIXED, pairs_per_epoch=config.pairs.pairs_per_epoch, steps_per_epoch=1),
        TrainConfig(learning_rate=1e-3, patience=12, max_epochs=1, seed=0),
    )


def is_a_metric(config: TrialConfig) -> bool:
    """It starts as nearest class mean on whitened features, alone, with predicted attributes, or in a mixture."""
    return (
        config.encoder
        in (
            SiameseConfig(projection=Projection.RESIDUAL),
            SiameseConfig(projection=Projection.ATTRIBUTES, attribute_share=0.3),
        )
        and (config.similarity, config.normalisation.normalisation)
        == (
            SimilarityConfig(joint=Joint.PRODUCT, first_weights=FirstWeights.DISTANCE),
            NormalisationKind.WHITEN,
        )
        and config.scoring
        in (
            ScoringConfig(scoring=Scoring.SUPPORT_MEAN),
            ScoringConfig(scoring=Scoring.LOG_ODDS),
            ScoringConfig(scoring=Scoring.MIXTURE, mixture_weight=0.5),
            ScoringConfig(scoring=Scoring.MIXTURE, classifier_c=3.0, mixture_weight=0.5),
        )
    )


def off_by_default(space: SearchSpace) -> list[dict[str, Scalar]]:
    """First trials of encoders that have to be asked for; they come last."""
    return [GRAPH_BASELINE] if GRAPH_BASELINE in space.first_trials else []


def test_the_papers_trials_come_first_and_recipes_that_start_as_a_metric_after(space: SearchSpace):
    first = [read(space, params) for params in space.first_trials if params not in off_by_default(space)]
    papers = [is_the_papers(config) for config in first]
    assert papers[0]
    assert papers == sorted(papers, reverse=True)
    assert [is_a_metric(config) for config in first] == [not paper for paper in papers]
    assert not all(papers)


def test_the_paper_setting_is_the_papers_supervised_one_and_tried_first(space: SearchSpace):
    assert space.paper_setting == space.first_trials[0]
    assert is_the_papers(read(space, space.paper_setting))
    assert space.paper_setting["supervision"] == "supervised"


def test_of_every_encoder_a_space_says_whether_it_is_searched_supported_or_why_not():
    for space in SPACES.values():
        named = [*space.encoders, *space.more_encoders, *space.unsupported]
        assert sorted(named) == sorted(ENCODERS)
        assert all(len(why.split()) > 4 and not why.endswith(".") for why in space.unsupported.values())
        assert {trial["encoder"] for trial in space.first_trials} <= set(space.encoders)
        assert {trial["encoder"] for trial in space.more_first_trials} <= set(space.more_encoders)
        encoder = distributions(space)["encoder"]
        assert isinstance(encoder, CategoricalDistribution)
        assert encoder.choices == space.encoders


def test_encoders_that_are_searched_or_off():
    assert {name: (space.encoders, space.more_encoders) for name, space in SPACES.items()} == {
        "demo": (("siamese", "proxynca"), ("graph",)),
        "cub": (("siamese", "proxynca"), ("graph",)),
        "inshop": (("siamese", "proxynca"), ()),
        "polyvore": (("siamese", "graph"), ()),
        "folder": (("siamese", "proxynca"), ("graph",)),
    }


@pytest.mark.parametrize("name", SPACES)
def test_a_space_among_other_encoders_asks_for_them_alone(name: str):
    default = SPACES[name]
    for number in range(1, len(default.supported) + 1):
        for chosen in itertools.combinations(default.supported, number):
            space = default.among(chosen[::-1])
            assert space.encoders == chosen
            assert set(space.encoders + space.more_encoders) == set(default.supported)
            assert {config["encoder"] for _, config in asked(space, 20)} == set(chosen)
            every = (*default.first_trials, *default.more_first_trials)
            assert space.first_trials == tuple(trial for trial in every if trial["encoder"] in chosen)
            assert (space.paper_setting, space.unsupported) == (default.paper_setting, default.unsupported)
            assert default.among(chosen).suggest == space.suggest, "what is known of it can be known again"


def test_the_default_encoders_in_any_order_are_the_space_itself():
    for space in SPACES.values():
        assert space.among(space.encoders) is space
        assert space.among(space.encoders[::-1]) is space


@pytest.mark.parametrize("name", ["cub", "demo"])
def test_among_graphs_the_first_trial_is_the_papers_graph_baseline(name: str):
    space = SPACES[name].among(["graph"])
    assert space.first_trials == (GRAPH_BASELINE,)
    config = read(space, GRAPH_BASELINE)
    assert (config.encoder, config.conditions.num_conditions) == (CUB_GRAPH, 1)
    assert is_the_papers(config)


def test_a_distance_trial_differs_from_the_papers_in_what_it_says_only():
    changed: dict[str, Any] = {"scoring": "log_odds", "gate": "OR", "lambda": 0.5}
    trial = distance_trial("hybrid", 20, **changed)
    assert changed.items() <= trial.items()
    assert trial.keys() - paper_trial("hybrid", 20, gate="OR", lambda_=0.5).keys() == {
        "whitening_shrinkage",
        *BATCHES,
    }
    assert (trial["supervision"], trial["num_conditions"]) == ("hybrid", 20)


def test_cub_starts_with_the_papers_numbers_of_conditions():
    space = SPACES["cub"]
    papers = [params for params in space.first_trials if is_the_papers(read(space, params))]
    first = [(params["supervision"], params["num_conditions"]) for params in papers]
    assert first == [("supervised", 312), ("unsupervised", 50), ("hybrid", 20)]
    assert [params.get("lambda") for params in papers] == [1e-5, None, 1e-5]


def test_inshop_starts_with_all_attributes_on_the_encoder_of_proxies():
    space = SPACES["inshop"]
    first = [read(space, params) for params in space.first_trials]
    proxies = ProxyNCAConfig(embedding_dim=1024, temperature=1 / 9)
    assert [config.encoder == proxies for config in first] == [True, True, False, False, False]
    assert [params["num_conditions"] for params in space.first_trials] == [463, 50, 8, 64, 64]
    assert (space.paper_setting["gate"], space.paper_setting["lambda"]) == ("XNOR", 1e-5)
    assert first[0].pairs.pairs_per_epoch == 16384
    assert space.max_epochs == 20


def test_polyvore_starts_with_the_papers_setting_and_draws_pairs_without_classes():
    space = SPACES["polyvore"]
    assert read(space, space.paper_setting).encoder == OUTFIT_GRAPH
    assert (
        space.paper_setting.items()
        >= {
            "supervision": "supervised",
            "num_conditions": 206,
            "gate": "OR",
            "lambda": 10.0,
            "dropout": 0.5,
        }.items()
    )
    metrics = [read(space, params) for params in space.first_trials if is_a_metric(read(space, params))]
    assert [config.pairs.pairs for config in metrics] == [PairSampling.FRESH] * 2
    pairs = distributions(space)["pairs"]
    assert isinstance(pairs, CategoricalDistribution)
    assert set(pairs.choices) == {"fixed", "fresh"}


def test_only_polyvore_s_paper_trials_have_dropout():
    for name, space in SPACES.items():
        papers = [config for params in space.first_trials if is_the_papers(config := read(space, params))]
        assert {config.similarity.dropout for config in papers} == {0.5 if name == "polyvore" else 0.0}


def test_defaults_of_a_study():
    assert {name: space.num_trials for name, space in SPACES.items()} == {
        name: 16 if name == "demo" else 64 for name in SPACES
    }
    assert all(space.max_epochs >= 1 for space in SPACES.values())


def test_labels_that_a_space_leaves_out_are_indeed_refused(space: SearchSpace):
    config = next(config for _, config in asked(space, 60) if config["supervision"] == "unsupervised")
    with pytest.raises(UserError, match="supervision unsupervised has no labels"):
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
