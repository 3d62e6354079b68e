"""What is told of a winner at an edge of the space, and of val and test that disagree."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from pan_model.scores import Interval
from search_spaces import SPACES
from search_spaces.pan import OPEN_ENDS
from study.config.search_space import replay
from study.config.space_description import record_space
from study.config.study_config import StudyConfig
from study.reporting.cautions import (
    find_cautions,
    find_edges,
    find_foreign_final,
    find_short_paper,
    find_weak_leads,
    place_in_range,
)
from study.reporting.comparison import FinalScores, MethodScores

SPACE = SPACES["demo"]
MIDDLE: dict[str, Any] = {
    **SPACE.first_trials[-1],
    "pairs_per_epoch": 2048,
    "max_epochs": 9,
    "encoder": "proxynca",
    "embedding_dim": 128,
    "temperature": 0.1,
    "proxy_learning_rate_factor": 10.0,
    "proxy_loss_weight": 1.0,
    "learning_rate": 1e-3,
}
"""A configuration in which every parameter of a range is asked for, none at an edge that counts."""

PROXIES = {"embedding_dim", "temperature", "proxy_learning_rate_factor", "proxy_loss_weight"}


def named(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines]


@pytest.mark.parametrize(
    ("distribution", "value", "place"),
    [
        (FloatDistribution(0.1, 0.9), 0.3, 0.25),
        (FloatDistribution(1e-5, 1e-2, log=True), 1e-4, 1 / 3),
        (IntDistribution(1, 512, log=True), 8, 1 / 3),
        (IntDistribution(10, 20), 20, 1.0),
        (FloatDistribution(-1.0, 1.0), -1.0, 0.0),
    ],
)
def test_a_place_is_on_the_range_s_own_scale(distribution: Any, value: float, place: float):
    assert place_in_range(distribution, value) == pytest.approx(place, abs=1e-12)


def test_in_the_middle_there_is_nothing_to_say():
    assert {"learning_rate", "lambda", "whitening_shrinkage", "temperature"} <= replay(SPACE, MIDDLE)[0].keys()
    assert find_edges(SPACE, MIDDLE) == []


@pytest.mark.parametrize(
    ("name", "value", "end"),
    [
        ("learning_rate", 1e-5, "low"),
        ("learning_rate", 1.4e-5, "low"),  # 3 decades: the outer twentieth ends at 1.41e-5
        ("learning_rate", 1.42e-5, None),
        ("learning_rate", 7e-3, None),
        ("learning_rate", 7.1e-3, "high"),
        ("learning_rate", 1e-2, "high"),
        ("lambda", 1e-5, "low"),
        ("lambda", 10.0, "high"),
        ("temperature", 0.03, "low"),
        ("temperature", 1.0, "high"),
        ("whitening_shrinkage", 0.144, "low"),  # 0.9 long: the outer twentieth ends at 0.145
        ("whitening_shrinkage", 0.146, None),
        ("whitening_shrinkage", 1.0, None),  # the same in all directions: there is nothing behind it
        ("num_conditions", 374, None),  # 512 ** 0.95 is 374.8
        ("num_conditions", 375, "high"),
        ("num_conditions", 1, None),  # fewer there cannot be
        ("dropout", 0.0, None),
        ("dropout", 0.7, "high"),
        ("positive_weight", 0.9, "high"),
    ],
)
def test_a_winner_at_an_open_end_of_its_range_is_told(name: str, value: float, end: str | None):
    lines = find_edges(SPACE, MIDDLE | {name: value})
    assert named(lines) == ([] if end is None else [name])
    assert all(f" lies at the {end} end of what was searched, " in line for line in lines)


def test_the_line_says_what_was_searched():
    assert find_edges(SPACE, MIDDLE | {"lambda": 9.0}) == [
        "lambda 9 lies at the high end of what was searched, 1e-05 to 10; there may be better values beyond it"
    ]


def test_a_parameter_that_had_one_value_in_all_trials_has_no_edge():
    winner, other = MIDDLE | {"lambda": 9.0}, {key: value for key, value in MIDDLE.items() if key != "lambda"}
    assert find_edges(SPACE, winner, None, [winner, winner, other]) == []
    assert named(find_edges(SPACE, winner, None, [winner, MIDDLE])) == ["lambda"]
    assert named(find_edges(SPACE, winner, recorded_space(), [winner, MIDDLE])) == ["lambda"]


def test_every_edge_has_its_line():
    at_edges = MIDDLE | {"lambda": 1e-5, "learning_rate": 1e-2, "num_conditions": 512}
    assert sorted(named(find_edges(SPACE, at_edges))) == ["lambda", "learning_rate", "num_conditions"]


def test_what_the_winner_was_not_asked_for_has_no_edge():
    unsupervised = {key: value for key, value in MIDDLE.items() if key != "gate"} | {"supervision": "unsupervised"}
    assert find_edges(SPACE, unsupervised | {"lambda": 10.0}) == []


GRAPH = {"graph_layers": 2, "layer_dropout": 0.5, "support_dropout": 0.15, "edge_dropout": 0.15}
OF_ENCODER: dict[str, dict[str, Any]] = {
    "siamese": {"projection": "residual"},
    "proxynca": {name: MIDDLE[name] for name in PROXIES},
    "graph": {**GRAPH, "graph_width": 200, "first_weights": "xavier"},
}
"""What each encoder is asked for, in the middle of its ranges."""


@pytest.mark.parametrize(
    ("dataset", "encoder"), [(name, encoder) for name, space in SPACES.items() for encoder in space.supported]
)
def test_only_open_ends_count_and_each_of_them_can_be_reached(dataset: str, encoder: str):
    space = SPACES[dataset].among(SPACES[dataset].supported)
    middle = {name: value for name, value in MIDDLE.items() if name not in PROXIES}
    middle |= {"encoder": encoder, **OF_ENCODER[encoder]}
    if (dataset, encoder) == ("polyvore", "graph"):
        middle["graph_context"] = 0
    if dataset == "polyvore":  # outfits have no classes to balance batches by
        middle["pairs"] = "fresh"
    others = {name for other in OF_ENCODER.keys() - {encoder} for name in OF_ENCODER[other]}
    if dataset == "inshop":  # one of the scorings that retrieval tells apart
        middle["scoring"] = "log_odds"
    if dataset in {"cub", "folder"}:
        middle |= {"scoring": "mixture", "classifier_c": 3.0, "mixture_weight": 0.5}
    else:
        others |= {"classifier_c"}
    open_ends = {name: ends for name, ends in OPEN_ENDS.items() if name not in others - OF_ENCODER[encoder].keys()}
    distributions = replay(space, middle)[1]
    numbers = {name: one for name, one in distributions.items() if isinstance(one, FloatDistribution | IntDistribution)}
    assert open_ends.keys() <= numbers.keys()
    for name, distribution in numbers.items():
        for end, value in (("low", distribution.low), ("high", distribution.high)):
            told = find_edges(space, middle | {name: value})
            assert named(told) == ([name] if end in open_ends.get(name, ()) else [])


def test_a_range_of_a_single_value_has_no_ends():
    def suggest(trial: BaseTrial) -> dict[str, Any]:
        return {"learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-3)}

    space = replace(SPACE, suggest=suggest)
    assert find_edges(space, {"learning_rate": 1e-3}) == []


@pytest.mark.parametrize("other", [{"scoring": "dreams"}, {"scoring": None}])
def test_a_winner_of_another_space_is_told_as_such(other: dict[str, Any]):
    config = {key: value for key, value in (MIDDLE | {"lambda": 10.0} | other).items() if value is not None}
    assert find_edges(SPACE, config) == [
        "whether the winner lies at an edge is not known: its configuration is not in the present search space"
    ]


def pan(val: Interval | None, test: Interval | None) -> MethodScores:
    return MethodScores(method="PAN", val=val, test=test)


LOW, TOUCHING, HIGH = Interval(0.3, 0.2, 0.4), Interval(0.5, 0.4, 0.6), Interval(0.7, 0.65, 0.75)
BASELINE = MethodScores(method="nearest_class_mean", val=Interval(0.5, 0.4, 0.6), test=Interval(0.25, 0.2, 0.3))


@pytest.mark.parametrize(
    ("val", "test", "disagree"),
    [
        (LOW, LOW, False),
        (LOW, TOUCHING, False),
        (TOUCHING, LOW, False),
        (LOW, HIGH, True),
        (HIGH, LOW, True),
        (Interval(0.5, 0.1, 0.9), HIGH, False),  # one within the other
        (None, HIGH, False),
        (LOW, None, False),
    ],
)
def test_val_and_test_disagree_when_their_intervals_do_not_overlap(
    val: Interval | None, test: Interval | None, disagree: bool
):
    for scores in ([pan(val, test)], [pan(val, test), BASELINE]):
        assert bool(find_cautions(SPACE, MIDDLE, 1, scores)) is disagree


SAME_WAY = "all methods without training move in the same direction, so the questions on test differ"


@pytest.mark.parametrize(
    ("others", "moved"),
    [
        ([], ""),
        ([MethodScores(method="paper_setting", val=LOW)], ""),
        (
            [MethodScores(method="paper_setting", val=LOW), BASELINE],
            " (nearest_class_mean moves from 0.5000 to 0.2500): " + SAME_WAY,
        ),
        (
            [replace(BASELINE, val_ahead=Interval(0.1, 0.05, 0.2), test_ahead=Interval(0.2, 0.1, 0.3))],
            f" (nearest_class_mean moves from 0.5000 to 0.2500): {SAME_WAY}; the leads over them are not affected",
        ),
        (
            [replace(BASELINE, val_ahead=Interval(0.3, 0.25, 0.4), test_ahead=Interval(0.1, 0.05, 0.2))],
            f" (nearest_class_mean moves from 0.5000 to 0.2500): {SAME_WAY}; the leads over them changed too",
        ),
        (
            [MethodScores(method="nearest_class_mean", val=LOW, test=HIGH)],
            " (nearest_class_mean moves from 0.3000 to 0.7000)",
        ),
    ],
)
def test_a_disagreement_is_told_with_how_a_baseline_moves(others: list[MethodScores], moved: str):
    assert find_cautions(SPACE, MIDDLE, 1, [pan(HIGH, LOW), *others]) == [
        "val and test disagree by more than their intervals, 0.7000 [0.6500, 0.7500] and 0.3000 [0.2000, 0.4000]"
        + moved
    ]


def test_baselines_alone_do_not_disagree():
    assert find_cautions(SPACE, MIDDLE, 1, [pan(None, None), BASELINE]) == []


def test_a_baseline_that_is_better_is_told_with_a_positive_distance():
    behind = MethodScores(method="reranked", val=HIGH, val_ahead=Interval(-0.25, -0.375, -0.125))
    assert find_cautions(SPACE, MIDDLE, 1, [pan(LOW, None), behind]) == [
        "PAN is behind reranked on val by 0.2500 [0.1250, 0.3750]"
    ]


def test_a_lead_over_the_best_baseline_that_may_be_noise_is_told_and_none_of_the_others():
    noise = Interval(0.01, -0.01, 0.03)
    best = MethodScores(method="lda", val=HIGH, val_ahead=noise)
    other = MethodScores(method="centred_l2", val=LOW, val_ahead=noise)
    assert find_weak_leads([pan(HIGH, None), other, best]) == [
        "PAN is not ahead of lda, the best baseline on val, by more than the interval: it is ahead by 0.0100 "
        "[-0.0100, 0.0300]"
    ]
    assert find_weak_leads([pan(HIGH, None), replace(best, val_ahead=Interval(0.02, 0.01, 0.03)), other]) == []


@pytest.mark.parametrize(
    ("ahead", "how"),
    [(Interval(0.1, -0.1, 0.3), "ahead by 0.1000 [-0.1000, 0.3000]"), (Interval(-0.2, -0.3, -0.1), "behind by 0.2000")],
)
def test_a_gain_over_the_attributes_that_cannot_be_claimed_is_told(ahead: Interval, how: str):
    best = MethodScores(method="lda", test=HIGH, test_ahead=Interval(0.02, 0.01, 0.03))
    [line] = find_weak_leads(
        [pan(None, HIGH), best, MethodScores(method="attributes_only", test=LOW, test_ahead=ahead)]
    )
    assert line.startswith(f"no gain of PAN over attributes_only can be claimed on test, where it is {how}")


def test_edges_come_before_the_disagreement():
    lines = find_cautions(SPACE, MIDDLE | {"lambda": 10.0}, 1, [pan(LOW, HIGH)])
    assert named(lines) == ["lambda", "val"]


def test_a_best_epoch_that_was_the_last_is_told():
    lines = [find_cautions(SPACE, MIDDLE, epoch, []) for epoch in (8, 9)]
    assert lines == [[], ["the best epoch, 9, is the last of max_epochs; more may be better"]]


def test_a_paper_setting_that_was_best_in_its_last_epoch_is_told():
    assert find_short_paper({"epochs": 100, "chosen_of_epochs": 100}) == [
        "the best epoch of paper_setting, 100, is the last of its epochs; with more it may be better"
    ]
    assert find_short_paper({"epochs": 99, "chosen_of_epochs": 100}) == find_short_paper({"epochs": 100}) == []


def test_a_final_training_of_another_trial_is_told():
    final = FinalScores(trial_id="old", test={}, ahead={})
    assert find_foreign_final(Path("demo/final"), final, "new") == [
        "demo/final is of trial old, not of the winner new; move it away and run study/final.py again"
    ]
    assert find_foreign_final(Path("demo/final"), final, "old") == []
    assert find_foreign_final(Path("demo/final"), None, "new") == []


def recorded_space(**flags: tuple[str, ...]) -> dict[str, Any]:
    """What study.json has of the demo's space with some flags."""
    return json.loads(json.dumps(record_space(StudyConfig(**flags).plans[0].space)))  # pyright: ignore[reportArgumentType]


def test_without_flags_a_recorded_space_has_the_cautions_of_the_space():
    for name, value in (("lambda", 9.0), ("dropout", 0.7), ("dropout", 0.0), ("num_conditions", 1), ("temperature", 1)):
        config = MIDDLE | {name: value}
        assert find_edges(SPACE, config, recorded_space()) == find_edges(SPACE, config)


@pytest.mark.parametrize(
    ("flags", "value", "line"),
    [
        ({"ranges": ("lambda=1e-4:1",)}, 0.9, "lambda 0.9 lies at the high end of --range, 0.0001 to 1; "),
        ({"ranges": ("lambda=1e-7:100",)}, 1e-7, "lambda 1e-07 lies at the low end of --range, 1e-07 to 100; "),
        ({"ranges": ("lambda=1e-5:1",)}, 1e-5, "lambda 1e-05 lies at the low end of what was searched, 1e-05 to 1; "),
        ({"ranges": ("positive_weight=0.4:0.6",)}, 0.41, "positive_weight 0.41 lies at the low end of --range, 0.4"),
        ({"ranges": ("num_conditions=4:64",)}, 64, "num_conditions 64 lies at the high end of --range, 4 to 64; "),
        ({"ranges": ("feature_dropout=0:0.1",)}, 0.0, ""),  # less than none is impossible
        ({"fix": ("lambda=0.1",)}, 0.1, ""),
        ({"choices": ("lambda=0.1,1",)}, 1.0, ""),
        ({"choices": ("weight_decay=0.05,7",)}, 7.0, ""),
    ],
)
def test_an_end_that_range_chose_is_told_as_such(flags: dict[str, tuple[str, ...]], value: float, line: str):
    name = next(iter(flags.values()))[0].partition("=")[0]
    lines = find_edges(SPACE, MIDDLE | {name: value}, recorded_space(**flags))
    assert len(lines) == bool(line)
    assert all(told.startswith(line) for told in lines)


def test_a_chosen_end_that_is_the_limit_of_the_model_has_nothing_beyond_it():
    space = StudyConfig(ranges=("whitening_shrinkage=0.5:0.9", "num_conditions=1:8")).plans[0].space
    assert space.chosen_ends == {"whitening_shrinkage": ("low", "high"), "num_conditions": ("high",)}
    space = StudyConfig(ranges=("positive_weight=5e-324:0.5",)).plans[0].space
    assert space.chosen_ends == {"positive_weight": ("high",)}
