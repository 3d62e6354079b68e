"""The lines about a comparison when a study ends."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from pan_model.scores import Interval
from study.reporting.comparison import MethodScores
from study.reporting.report import print_comparison
from study.reporting.summary import DatasetSummary
from study.terminal import Terminal

VAL, AHEAD = Interval(0.5, 0.4, 0.6), Interval(-0.125, -0.25, 0.0)


@pytest.fixture
def say(empty_summary: DatasetSummary) -> Callable[..., list[str]]:
    """The lines for a dataset with these scores and cautions."""

    def lines(scores: list[MethodScores], *cautions: str) -> list[str]:
        screen = StringIO()
        summary = replace(empty_summary, scores=scores, cautions=list(cautions))
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
