"""The search space from outside: what --fix, --range and --choices make of a space, and what they refuse."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from pan_model.config import TrialConfig
from pan_model.data.splits import TaskName
from pan_model.errors import UserError
from search_spaces import SPACES
from search_spaces.pan import SearchSpace
from study.config.choices import Regime
from study.config.search_space import check_trials, choose_space, full_space
from study.config.space_description import describe_left_out, describe_space, parameters_of, space_digest
from study.config.study_config import StudyConfig


def space_of(dataset: str = "demo", **flags: Any) -> SearchSpace:
    return next(
        plan.space for plan in StudyConfig(**{"datasets": (dataset,), **flags}).plans if plan.dataset == dataset
    )


def searched(dataset: str = "demo", **flags: Any) -> dict[str, Any]:
    return dict(parameters_of(space_of(dataset, **flags).suggest))


@pytest.mark.parametrize(
    ("flags", "distributions"),
    [
        (
            {
                "fix": ("gate=XNOR", "lambda=0", "num-conditions=8", "weight_decay=0.05", "feature_power=1"),
                "ranges": ("learning_rate=1e-7:100", "dropout= 0.1 : 0.9", "positive_weight=0.5:0.5"),
                "choices": ("classes_per_step=64,4", "joint=concat,absdiff", "feature_dropout=0,0.1", "patience=0"),
            },
            {
                "gate": CategoricalDistribution(["XNOR"]),
                "lambda": FloatDistribution(0.0, 0.0),
                "num_conditions": IntDistribution(8, 8),
                "weight_decay": CategoricalDistribution([0.05]),
                "feature_power": CategoricalDistribution([1.0]),
                "learning_rate": FloatDistribution(1e-7, 100.0, log=True),
                "dropout": FloatDistribution(0.1, 0.9),
                "positive_weight": FloatDistribution(0.5, 0.5),
                "classes_per_step": CategoricalDistribution([4, 64]),
                "joint": CategoricalDistribution(["absdiff", "concat"]),
                "feature_dropout": CategoricalDistribution([0.0, 0.1]),
                "patience": CategoricalDistribution([0]),
            },
        ),
        (
            {
                "fix": ("encoder=graph", "graph_width=64"),
                "ranges": ("num_conditions=2:1e3", "graph_layers=1:5"),
                "choices": ("weight_decay=7,1,0", "lambda=0.5"),
            },
            {
                "encoder": CategoricalDistribution(["graph"]),
                "graph_width": CategoricalDistribution([64]),
                "num_conditions": IntDistribution(2, 1000, log=True),
                "graph_layers": IntDistribution(1, 5),
                "weight_decay": CategoricalDistribution([0.0, 1.0, 7.0]),
                "lambda": FloatDistribution(0.5, 0.5),
            },
        ),
    ],
)
def test_parameters_are_restricted(flags: dict[str, Any], distributions: dict[str, Any]):
    found, default = searched(**flags), searched(encoders=("siamese", "proxynca", "graph"))
    assert {name: found[name] for name in distributions} == distributions
    for name, distribution in distributions.items():
        kinds = [list(map(type, getattr(one, "choices", ()))) for one in (found[name], distribution)]
        assert kinds[0] == kinds[1], name
    assert {name: found[name] for name in found if name not in distributions} == {
        name: default[name] for name in found if name not in distributions and name != "encoder"
    } | ({} if "encoder" in distributions else {"encoder": found["encoder"]})


def test_finetuning_has_its_parameters_and_keeps_its_own_choices():
    space = space_of(regime=Regime.FINETUNE, fix=("backbone_warmup_epochs=2",))
    assert parameters_of(space.suggest)["backbone_warmup_epochs"] == CategoricalDistribution([2])
    with pytest.raises(UserError, match=r"pairs of demo must be one of balanced, fresh, got 'fixed'"):
        space_of(regime=Regime.FINETUNE, fix=("pairs=fixed",))
    with pytest.raises(UserError, match=r"backbone_warmup_epochs is a parameter with --regime finetune only\."):
        space_of(fix=("backbone_warmup_epochs=2",))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_trial_keeps_to_the_restrictions_and_is_one_that_the_model_accepts(seed: int):
    space = space_of(
        fix=("supervision=hybrid", "gate=XNOR", "dropout=0.25"),
        ranges=("lambda=1e-3:2", "num_conditions=600:700"),
        choices=("weight_decay=0.05,3", "encoder=siamese"),
    )
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask()
    config = space.suggest(trial)
    TrialConfig.from_flat(config | {"max_epochs": 1, "seed": 0})
    assert (config["supervision"], config["gate"], config["dropout"]) == ("hybrid", "XNOR", 0.25)
    assert 1e-3 <= float(config["lambda"]) <= 2
    assert 600 <= int(config["num_conditions"]) <= 700
    assert config["weight_decay"] in (0.05, 3.0)
    assert trial.params["gate"] == "XNOR"


@pytest.mark.parametrize(
    "flags",
    [
        {"ranges": ("lambda=1e-5:10",)},
        {"choices": ("gate=AND_XOR,NAND,NOR,XNOR,XOR,OR,AND", "encoder=proxynca,siamese")},
    ],
)
def test_a_restriction_to_all_that_is_searched_is_the_same_study(flags: dict[str, Any]):
    assert space_of(**flags) is SPACES["demo"]
    assert StudyConfig(**flags).signed() == StudyConfig().signed()


def test_the_digest_follows_the_restriction_and_not_how_it_is_written():
    digests = [space_digest(space_of(**flags)) for flags in ({}, {"fix": ("gate=XNOR",)}, {"choices": ("gate=XNOR",)})]
    assert digests[0] != digests[1] == digests[2]
    assert StudyConfig(fix=("encoder=siamese",)).signed() == StudyConfig(encoders=("siamese",)).signed()
    assert "encoders" not in StudyConfig(fix=("gate=XNOR",)).signed()["datasets"]["demo"]


def test_first_trials_outside_are_left_out_and_told():
    space = space_of(fix=("gate=XNOR", "num_conditions=50"))
    assert space.first_trials == (SPACES["demo"].first_trials[1],)
    assert space.paper_setting is SPACES["demo"].paper_setting
    assert describe_left_out(space) == [
        f"first trial {number} of 3 is left out, it is not in the search space: num_conditions is {value}, "
        "and the space has 50, fixed"
        for number, value in ((1, 16), (3, 32))
    ]
    lines = describe_space(space)
    assert any(line.startswith("  first trial 2: ") for line in lines)
    assert any(line.startswith("  first trial 1 of 3 is left out") for line in lines)


def test_other_encoders_leave_first_trials_out_too():
    space = space_of("inshop", encoders=("siamese",))
    assert space.first_trials == SPACES["inshop"].among(["siamese"]).first_trials
    assert list(space.left_out) == [1, 2]


def edited(change: Callable[[dict[str, Any]], dict[str, Any]]) -> SearchSpace:
    """The demo's space as somebody may have edited it."""

    def suggest(trial: BaseTrial, encoders: Any = ("siamese",)) -> dict[str, Any]:
        return change(SPACES["demo"].suggest(trial, encoders=encoders))

    return replace(SPACES["demo"], suggest=suggest)


def test_first_trials_outside_an_edited_space_are_left_out(monkeypatch: pytest.MonkeyPatch):
    def suggest(trial: BaseTrial, encoders: Any = None) -> dict[str, Any]:
        config = {"num_conditions": trial.suggest_int("num_conditions", 1, 40), "new": trial.suggest_int("new", 1, 2)}
        return config | {"gate": trial.suggest_categorical("gate", ["XNOR"])}

    first = ({"num_conditions": 50, "new": 1, "gate": "XNOR"}, {"num_conditions": 4}, {"num_conditions": 4, "new": 2})
    here = ({"num_conditions": 4, "new": 2, "gate": "XNOR"}, {"num_conditions": 4, "new": 2, "gate": "OR"})
    space = replace(SPACES["demo"], suggest=suggest, first_trials=(*first, *here), more_first_trials=())
    monkeypatch.setitem(SPACES, "demo", space)
    chosen = choose_space("demo", None, Regime.FROZEN)
    assert chosen.first_trials == here[:1]
    assert dict(chosen.left_out) == {
        1: "num_conditions is 50, and the space has 1 to 40",
        2: "it has no new, which is searched there",
        3: "it has no gate, which is searched there",
        5: "gate is OR, and the space has XNOR, fixed",
    }


def test_an_edited_space_with_an_invalid_trial_is_refused_before_any_work():
    check_trials(SPACES["demo"], "demo")
    with pytest.raises(UserError, match=r"the search space of demo suggests an invalid trial: dropout must lie in"):
        check_trials(edited(lambda config: config | {"dropout": 1.5}), "demo")


def test_an_impossible_range_of_an_edited_space_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def suggest(trial: BaseTrial, encoders: Any = None) -> dict[str, Any]:
        return {"dropout": trial.suggest_float("dropout", 0.5, 0.1)}

    monkeypatch.setitem(SPACES, "demo", replace(SPACES["demo"], suggest=suggest, first_trials=()))
    with pytest.raises(UserError, match=r"the search space is invalid: .*low"):
        StudyConfig().signed()


def test_the_counts_are_those_of_the_parameters():
    names = [name for name in searched(encoders=("siamese",)) if name != "encoder"]
    values = {name: getattr(one, "choices", None) for name, one in searched(encoders=("siamese",)).items()}
    fix = [
        f"{name}={values[name][0] if values[name] else '0.5'}"
        for name in names
        if name not in ("supervision", "num_conditions")
    ]
    space = space_of(fix=(*fix, "supervision=supervised", "encoder=siamese"))
    fixed = sum(one.single() for one in parameters_of(space.suggest).values())
    assert describe_space(space)[0] == f"  parameters: {fixed} fixed, 1 searched"
    assert fixed == len(parameters_of(space.suggest)) - 1


def test_several_datasets_are_restricted_where_they_have_the_parameter():
    flags: dict[str, Any] = {"datasets": ("cub", "polyvore"), "fix": ("graph_layers=2", "temperature=0.1")}
    assert searched("polyvore", **flags)["graph_layers"].single()
    assert "graph_layers" not in searched("cub", **flags)
    assert searched("cub", **flags)["temperature"].single()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"fix": ("gatte=XNOR",)}, r"--fix gatte=XNOR: unknown parameter 'gatte'; did you mean gate\?"),
        ({"fix": ("xyzzy=1",)}, r"unknown parameter 'xyzzy'; choose from supervision, encoder, "),
        ({"fix": ("gate=xnor",)}, r"gate of demo must be one of AND, .*, got 'xnor'; did you mean XNOR\?"),
        ({"fix": ("gate",)}, r"--fix gate: expected NAME=VALUE without spaces, got 'gate'\."),
        ({"fix": ("gate=",)}, r"--fix gate=: expected NAME=VALUE"),
        ({"fix": ("=XNOR",)}, r"--fix =XNOR: expected NAME=VALUE"),
        ({"fix": ("gate=XNOR,OR",)}, r"for NAME=VALUE,VALUE give --choices gate=XNOR,OR\."),
        ({"fix": ("lambda=1:2",)}, r"for NAME=LOW:HIGH give --range lambda=1:2\."),
        ({"ranges": ("lambda=1",)}, r"for NAME=VALUE give --fix lambda=1\."),
        ({"ranges": ("lambda=1:2:3",)}, r"expected NAME=LOW:HIGH"),
        ({"ranges": ("lambda=:2",)}, r"expected NAME=LOW:HIGH"),
        ({"choices": ("gate=XNOR,",)}, r"--choices gate=XNOR,: expected NAME=VALUE,VALUE without spaces"),
        ({"choices": ("gate=XNOR,XNOR",)}, r"--choices gate=XNOR,XNOR: XNOR is given twice; keep one\."),
        ({"choices": ("weight_decay=1,1.0",)}, r"1\.0 is given twice"),
        ({"choices": ("lambda=1:2",)}, r"give --range lambda=1:2"),
        (
            {"ranges": ("lambda=2:1",)},
            r"--range lambda=2:1: the low end of lambda, 2, is above the high end; swap them\.",
        ),
        ({"ranges": ("lambda=nan:1",)}, r"lambda must be a finite number, got 'nan'\."),
        ({"ranges": ("lambda=1:inf",)}, r"lambda must be a finite number, got 'inf'\."),
        ({"fix": ("lambda=1e999",)}, r"lambda must be a finite number, got '1e999'\."),
        ({"fix": ("lambda=much",)}, r"lambda must be a finite number, got 'much'\."),
        ({"fix": ("lambda=true",)}, r"lambda must be a finite number, got 'true'\."),
        ({"fix": ("lambda=-1",)}, r"--fix lambda=-1: lambda must be a finite number of at least 0, got -1\.0\."),
        (
            {"ranges": ("lambda=0:1",)},
            r"lambda is searched on a logarithmic scale, so its low end must be above 0, got 0",
        ),
        ({"ranges": ("num_conditions=1.5:4",)}, r"num_conditions must be a whole number, got '1\.5'\."),
        ({"ranges": ("num_conditions=0:4",)}, r"num_conditions must be at least 1, got 0\."),
        ({"fix": ("num_conditions=1e12",)}, r"num_conditions must be at most 1000000000, got a larger number\."),
        ({"fix": ("classes_per_step=2.5",)}, r"classes_per_step must be a whole number, got '2\.5'\."),
        ({"fix": ("classes_per_step=1",)}, r"classes_per_step must be at least 2, got 1\."),
        ({"fix": ("weight_decay=-1",)}, r"weight_decay must be a finite number of at least 0, got -1\.0\."),
        ({"ranges": ("dropout=0:1",)}, r"--range dropout=0:1: dropout must lie in \[0, 1\), got 1\.0\."),
        ({"ranges": ("gate=1:2",)}, r"gate is a choice of AND, .*; give --choices gate=VALUE,VALUE\."),
        ({"ranges": ("weight_decay=0:1",)}, r"weight_decay is a choice of 0\.0, .*; give --choices"),
        ({"fix": ("gate=OR", "gate=OR")}, r"--fix gate=OR: gate is given by --fix gate=OR, too; keep one\."),
        ({"fix": ("gate=OR",), "choices": ("gate=OR,AND",)}, r"gate is given by --fix gate=OR, too"),
        ({"fix": ("learning_rate=1",), "ranges": ("learning-rate=1:2",)}, r"learning_rate is given by --fix"),
        ({"fix": ("encoder=siamese",), "encoders": ("siamese",)}, r"encoder is given by --encoders, too; keep one\."),
        ({"ranges": ("encoder=1:2",)}, r"encoder is a choice; give --choices encoder=VALUE,VALUE\."),
        ({"choices": ("encoder=siamese,siamese",)}, r"siamese is given twice"),
        ({"fix": ("encoder=resnet",)}, r"unknown encoder 'resnet'; choose from siamese, proxynca, graph\."),
        (
            {"fix": ("supervision=unsupervised", "gate=XNOR")},
            r"--fix gate=XNOR: gate depends on supervision being hybrid or supervised, and the study searches "
            r"supervision unsupervised, fixed; leave gate out, or choose another supervision\.",
        ),
        ({"fix": ("temperature=0.1", "encoder=siamese")}, r"temperature depends on encoder being proxynca, and"),
        ({"fix": ("graph_layers=2",)}, r"graph_layers depends on encoder being graph, .* siamese \| proxynca"),
        ({"fix": ("graph_context=4",)}, r"graph_context is a parameter with --dataset polyvore only\."),
        ({"fix": ("max_epochs=3",)}, r"max_epochs is not a parameter of the search space; give --max-epochs E\."),
        ({"fix": ("pairs_per_epoch=3",)}, r"pairs_per_epoch is 2048 in every trial of demo, not searched\."),
        (
            {"datasets": ("demo", "polyvore"), "fix": ("pairs=balanced",)},
            r"--fix pairs=balanced: pairs of polyvore must be one of fresh, fixed, got 'balanced'\.",
        ),
        ({"datasets": ("demo", "polyvore"), "fix": ("encoder=proxynca",)}, r"polyvore does not support it"),
    ],
)
def test_what_is_refused(flags: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message) as error:
        StudyConfig(**flags)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("regime", Regime)
def test_every_parameter_can_be_fixed_to_what_it_may_be(regime: Regime):
    encoders = full_space("polyvore", regime).encoders
    parameters = searched("polyvore", regime=regime, encoders=encoders)
    values = {name: getattr(one, "choices", None) or [getattr(one, "high", None)] for name, one in parameters.items()}
    fix = tuple(f"{name}={choices[0]}" for name, choices in values.items() if name != "encoder")
    fix = tuple(text for text in fix if text != "supervision=unsupervised")
    found = searched("polyvore", regime=regime, encoders=encoders, fix=(*fix, "supervision=hybrid"))
    assert {name for name, one in found.items() if not one.single()} <= {"encoder"}


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ("supervision=hybrid", r"must be one of unsupervised, got 'hybrid'; the others need attributes"),
        ("lambda=1", r"lambda depends on supervision being hybrid or supervised, and the study searches supervision"),
        ("graph_layers=2", r"graph_layers depends on encoder being graph, and the study searches encoder siamese"),
    ],
)
def test_what_a_folder_without_attributes_does_not_search_is_named(tmp_path: Path, fix: str, message: str):
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=message):
        space_of("folder", data_root=tmp_path, task=TaskName.RETRIEVAL, fix=(fix,))
