"""A search space in words, and the name that it gets of them."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
import pytest

from search_spaces import SPACES
from search_spaces.pan import SearchSpace
from study.config.space_description import WIDTH, describe_space, space_digest


def suggest(trial: Any) -> dict[str, Any]:
    config = {
        "kind": trial.suggest_categorical("kind", ("a", "b", "c")),
        "size": trial.suggest_int("size", 1, 512, log=True),
    }
    if config["kind"] != "a":
        config["rate"] = trial.suggest_float("rate", 0.001, 1.0)
    return config


FIRST = {"kind": "a", "size": 3}
SPACE = SearchSpace(suggest=suggest, first_trials=(FIRST,), paper_setting=FIRST, num_trials=2, max_epochs=1)


def test_a_space_is_one_line_a_parameter_then_its_first_trials():
    lines = describe_space(SPACE)
    assert sorted(lines[:3]) == [
        "  kind: a | b | c",
        "  rate: 0.001 to 1 (when kind is b or c)",
        "  size: 1 to 512, log",
    ]
    assert lines[3:] == ["  the paper's setting: kind=a, size=3", "  first trial 1: the paper's setting"]


def test_a_first_trial_is_told_by_what_it_changes():
    other = replace(SPACE, first_trials=(FIRST, {"kind": "b", "size": 3, "rate": 0.1}, {"size": 3}))
    assert describe_space(other)[-3:] == [
        "  first trial 1: the paper's setting",
        "  first trial 2: the paper's setting, but kind=b, rate=0.1",
        "  first trial 3: the paper's setting",
    ]


@pytest.mark.parametrize("dataset", SPACES)
def test_every_parameter_of_every_space_is_shown(dataset: str):
    lines = describe_space(SPACES[dataset])
    assert "  num_conditions: 1 to 512, log" in lines
    assert "  lambda: 1e-05 to 10, log (when supervision is hybrid or supervised)" in lines
    assert any(line.startswith("  gate: AND | OR | ") and "(when supervision is" in line for line in lines)
    conditions = [("whitening_shrinkage", "normalisation is whiten")]
    if dataset == "polyvore":
        conditions += [("first_weights", "encoder is siamese and joint is absdiff or product")]
        conditions += [("graph_layers", "encoder is graph"), ("edge_dropout", "encoder is graph")]
    else:
        conditions += [("first_weights", "joint is absdiff or product")]
        conditions += [("temperature", "encoder is proxynca"), ("classes_per_step", "pairs is balanced")]
    for name, condition in conditions:
        assert any(line.startswith(f"  {name}: ") and line.endswith(f" (when {condition})") for line in lines)
    assert sum(line.startswith("  first trial ") for line in lines) == len(SPACES[dataset].first_trials)
    settings = "\n".join(lines).partition("  the paper's setting: ")[2].partition("  first trial ")[0]
    told = dict(re.findall(r"(\w+)=([\w.-]+)", settings))
    assert told == {key: str(value) for key, value in SPACES[dataset].paper_setting.items()}
    first_trials = lines[lines.index("  first trial 1: the paper's setting") :]
    assert max(map(len, first_trials)) <= WIDTH


def test_spaces_of_studies_that_were_begun_before_are_known_again():
    known = {"demo": "6150829c999e", "cub": "a430312fdee0", "inshop": "dc2555650b53"}
    assert {name: space_digest(SPACES[name]) for name in known} == known, "a study of an older version cannot go on"


def test_other_encoders_make_another_space_and_the_same_ones_in_another_order_do_not():
    cub = SPACES["cub"]
    spaces = [cub, *(cub.among(chosen) for chosen in (["siamese"], ["graph"], ["siamese", "graph"], cub.supported))]
    assert len({space_digest(space) for space in spaces}) == len(spaces)
    assert space_digest(cub.among(["graph", "siamese"])) == space_digest(spaces[3])


def test_the_same_is_said_every_time():
    again = replace(SPACE, suggest=partial(suggest))
    assert describe_space(again) == describe_space(SPACE)
    assert space_digest(again) == space_digest(SPACE)


def test_optuna_is_as_talkative_after_as_before():
    before = optuna.logging.get_verbosity()
    describe_space(replace(SPACE, suggest=partial(suggest)))  # a space that was not described before
    assert optuna.logging.get_verbosity() == before


def longer(trial: Any) -> dict[str, Any]:
    return suggest(trial) | {"more": trial.suggest_float("more", 0, 1)}


@pytest.mark.parametrize("changes", [{"suggest": longer}, {"first_trials": ({"kind": "b", "size": 3, "rate": 0.1},)}])
def test_another_space_has_another_name(changes: dict[str, Any]):
    assert space_digest(replace(SPACE, **changes)) != space_digest(SPACE)


@pytest.mark.parametrize("changes", [{"num_trials": 9}, {"max_epochs": 9}, {"paper_setting": {}}])
def test_what_no_trial_is_suggested_by_does_not_count(changes: dict[str, Any]):
    assert space_digest(replace(SPACE, **changes)) == space_digest(SPACE)
