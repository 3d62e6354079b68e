"""The lines about a comparison when a study ends, and the commands that may follow."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from pan_model.scores import Interval
from study.config.study_config import StudyConfig
from study.reporting.comparison import MethodScores
from study.reporting.report import next_commands, print_comparison
from study.reporting.summary import DatasetSummary
from study.terminal import Terminal
from study.trials.ledger import Status, TrialRecord

VAL, AHEAD = Interval(0.5, 0.4, 0.6), Interval(-0.125, -0.25, 0.0)

EMPTY = DatasetSummary(
    dataset="demo",
    metric="few_shot_accuracy",
    planned=1,
    by_status={},
    epochs_spent=0,
    epochs_saved=0,
    best=None,
    scores=[],
    cautions=[],
)


@pytest.fixture
def say() -> Callable[..., list[str]]:
    """The lines for a dataset with these scores and cautions."""

    def lines(scores: list[MethodScores], *cautions: str) -> list[str]:
        screen = StringIO()
        summary = replace(EMPTY, scores=scores, cautions=list(cautions))
        print_comparison(summary, Terminal(Console(file=screen, force_terminal=False, soft_wrap=True)))
        return screen.getvalue().splitlines()

    return lines


def test_each_baseline_is_told_with_how_far_pan_is_ahead(say: Callable[..., list[str]]):
    scores = [
        MethodScores(method="PAN", val=Interval(0.375, 0.25, 0.5)),
        MethodScores(method="nearest_class_mean", val=VAL, val_ahead=AHEAD, test=VAL, test_ahead=VAL),
        MethodScores(method="paper_setting", val=Interval(0.25, 0, 1), val_ahead=Interval(0.125, 0.0625, 0.1875)),
    ]
    assert say(scores) == [
        "  nearest_class_mean: 0.5000; PAN behind by 0.1250 [0.0000, 0.2500]",
        "  paper_setting: 0.2500; PAN ahead by 0.1250 [0.0625, 0.1875]",
    ]


def test_what_is_not_known_is_not_told(say: Callable[..., list[str]]):
    assert say([]) == []
    assert say([MethodScores(method="PAN"), MethodScores(method="paper_setting", val=VAL)]) == []


def test_cautions_come_last(say: Callable[..., list[str]]):
    lines = say([MethodScores(method="siamese_distance", val=VAL, val_ahead=AHEAD)], "one", "two")
    assert lines[1:] == ["  caution: one", "  caution: two"]


def test_what_to_type_next_does_something(study_config: Callable[..., StudyConfig], record: Callable[..., TrialRecord]):
    config = study_config()
    won = replace(EMPTY, best=(record(0, Status.COMPLETED, 0.5), 0.5, 1), scores=[MethodScores(method="PAN", val=VAL)])
    tested = replace(won, scores=[MethodScores(method="PAN", val=VAL, test=VAL)])

    def programs(summary: DatasetSummary) -> list[Any]:
        return [command.split()[2] for command in next_commands(config, {"demo": summary})]

    assert programs(EMPTY) == []  # nothing began
    assert programs(won) == ["study/final.py"]
    config.results.tensorboard.mkdir(parents=True)
    config.results.dataset("demo").folder.mkdir()
    config.results.dataset("demo").journal.touch()
    assert programs(EMPTY) == ["tensorboard", "optuna-dashboard"]
    assert programs(won) == ["tensorboard", "optuna-dashboard", "study/final.py"]
    assert programs(tested) == ["tensorboard", "optuna-dashboard"]  # final/ is there and would be refused
