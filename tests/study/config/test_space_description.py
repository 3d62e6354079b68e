"""A search space in words, and the name that it gets of them."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from search_spaces import SPACES
from search_spaces.pan import SearchSpace
from study.config import space_description
from study.config.choices import Regime
from study.config.resume import DIGESTS_OF_0_1
from study.config.search_space import choose_space, full_space
from study.config.space_description import WIDTH, compare_spaces, describe_space, explore_space, space_digest


def suggest(trial: Any) -> dict[str, Any]:
    config = {
        "kind": trial.suggest_categorical("kind", ("a", "b", "c")),
        "size": trial.suggest_int("size", 1, 512, log=True),
    }
    if config["kind"] != "a":
        config["rate"] = trial.suggest_float("rate", 0.001, 1.0)
    return config


FIRST: dict[str, Any] = {"kind": "a", "size": 3}
SPACE = SearchSpace(suggest=suggest, first_trials=(FIRST,), paper_setting=FIRST, num_trials=2, max_epochs=1)


def test_a_space_is_one_line_a_parameter_then_its_first_trials():
    lines = describe_space(SPACE)
    assert lines[0] == "  parameters: 0 fixed, 3 searched"
    assert sorted(lines[1:4]) == [
        "  kind: a | b | c",
        "  rate: 0.001 to 1 (when kind is b or c)",
        "  size: 1 to 512, log",
    ]
    assert lines[4:] == ["  the paper's setting: kind=a, size=3", "  first trial 1: the paper's setting"]


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


@pytest.mark.parametrize("regime", Regime)
def test_the_space_of_version_0_1_that_has_not_changed_is_recognised(regime: Regime):
    for space in (choose_space("demo", None, regime), full_space("demo", regime)):
        assert space_digest(space) in DIGESTS_OF_0_1, "a study of version 0.1 cannot be resumed"
    assert DIGESTS_OF_0_1[space_digest(SPACES["demo"])] == "6150829c999e"


def test_other_encoders_make_another_space_and_the_same_ones_in_another_order_do_not():
    cub = SPACES["cub"]
    spaces = [cub, *(cub.among(chosen) for chosen in (["siamese"], ["graph"], ["siamese", "graph"], cub.supported))]
    assert len({space_digest(space) for space in spaces}) == len(spaces)
    assert space_digest(cub.among(["graph", "siamese"])) == space_digest(spaces[3])


def test_the_same_is_said_every_time():
    again = replace(SPACE, suggest=partial(suggest))
    assert describe_space(again) == describe_space(SPACE)
    assert space_digest(again) == space_digest(SPACE)


def in_another_order(trial: Any) -> dict[str, Any]:
    size = trial.suggest_int("size", 1, 512, log=True)
    kind = trial.suggest_categorical("kind", ("a", "b", "c"))
    rate = {} if kind == "a" else {"rate": trial.suggest_float("rate", 0.001, 1.0)}
    return {"kind": kind, "size": size, **rate}


def test_the_order_of_parameters_does_not_count():
    assert space_digest(replace(SPACE, suggest=in_another_order)) == space_digest(SPACE)


def test_the_wording_does_not_count(monkeypatch: pytest.MonkeyPatch):
    before = space_digest(SPACE)
    monkeypatch.setattr(space_description, "_when", lambda *_: " (sometimes)")
    monkeypatch.setattr(space_description, "describe_distribution", lambda *_: "something")
    assert space_digest(replace(SPACE, suggest=partial(suggest))) == before


class Changed:
    """The space above with one thing changed."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    def __call__(self, trial: Any) -> dict[str, Any]:
        changes = {"kinds": ("a", "b", "c"), "low": 0.001, "log": False, "only": "a", "constant": 1} | self.changes
        kind = trial.suggest_categorical("kind", changes["kinds"])
        size = trial.suggest_int("size", 1, 512, log=True)
        config = {"kind": kind, "size": size, "steps": changes["constant"]}
        if kind != changes["only"]:
            config["rate"] = trial.suggest_float("rate", changes["low"], 1.0, log=changes["log"])
        if kind == "c" and trial.suggest_categorical("more", ("no", "yes")) == "yes":
            config["hidden"] = trial.suggest_float("hidden", 0.0, changes.get("hidden", 1.0))
        return config


@pytest.mark.parametrize(
    "changes",
    [
        {"low": 0.0010000001},  # beyond six digits
        {"log": True},
        {"kinds": ("b", "a", "c")},
        {"kinds": ("a", "b")},
        {"only": "b"},
        {"constant": 2},
        {"hidden": 2.0},  # depends on two choices at once
    ],
)
def test_every_change_of_a_space_changes_its_digest(changes: dict[str, Any]):
    digests = [space_digest(replace(SPACE, suggest=suggest)) for suggest in (Changed(), Changed(**changes))]
    assert digests[0] != digests[1]
    assert digests[0] == space_digest(replace(SPACE, suggest=Changed()))


def test_a_condition_on_a_condition_is_explored():
    def nested(trial: Any) -> dict[str, Any]:
        config = dict[str, Any]()
        for depth in range(5):
            config[f"on_{depth}"] = trial.suggest_categorical(f"on_{depth}", (False, True))
            if not config[f"on_{depth}"]:
                return config
        return config | {"deep": trial.suggest_float("deep", 0, 1)}

    assert any("deep" in branch.distributions for branch in explore_space(nested))


def longer(trial: Any) -> dict[str, Any]:
    return suggest(trial) | {"more": trial.suggest_float("more", 0, 1)}


@pytest.mark.parametrize("changes", [{"suggest": longer}, {"first_trials": ({"kind": "b", "size": 3, "rate": 0.1},)}])
def test_another_space_has_another_name(changes: dict[str, Any]):
    assert space_digest(replace(SPACE, **changes)) != space_digest(SPACE)


@pytest.mark.parametrize("changes", [{"num_trials": 9}, {"max_epochs": 9}, {"paper_setting": {}}])
def test_what_no_trial_is_suggested_by_does_not_count(changes: dict[str, Any]):
    assert space_digest(replace(SPACE, **changes)) == space_digest(SPACE)


def test_numbers_that_are_written_alike_are_told_apart():
    one, other = (
        {"parameters": {"a": {"low": 1, "high": 8, "log": log, "type": "int"}}, "first_trials": []}
        for log in (True, False)
    )
    assert compare_spaces(one, other) == ["a was 1..8 (int, log), now 1..8 (int, linear)"]
    assert compare_spaces(one, one) == ["a constant, or the choice that a parameter depends on, differs"]
