"""The lines about a comparison when a study ends."""

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pan_model.objective import Objective
from pan_model.scores import Interval
from study.reporting.comparison import MethodScores
from study.reporting.report import print_comparison, print_selection
from study.reporting.summary import DatasetSummary
from study.storage.paths import StudyPaths
from study.terminal import Terminal
from study.trials.ledger import Status
from study.trials.selection.confirmation import select_winner

VAL, AHEAD = Interval(0.5, 0.4, 0.6), Interval(-0.125, -0.25, 0.0)


@pytest.fixture
def say(empty_summary: DatasetSummary) -> Callable[..., list[str]]:
    """The lines for a dataset with these scores and cautions."""

    def lines(scores: list[MethodScores], *cautions: str) -> list[str]:
        return printed(print_comparison, replace(empty_summary, scores=scores, cautions=list(cautions)))

    return lines


def printed(tell: Callable[[DatasetSummary, Terminal], None], summary: DatasetSummary) -> list[str]:
    """The lines that a function prints about a dataset."""
    screen = StringIO()
    tell(summary, Terminal(Console(file=screen, force_terminal=False, soft_wrap=True)))
    return screen.getvalue().splitlines()


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


def test_the_candidates_are_told_with_the_lead_of_the_winner(
    empty_summary: DatasetSummary, tmp_path: Path, record: Callable[..., Any], write_runs: Callable[..., Any]
):
    files = StudyPaths(tmp_path).dataset("demo")
    one, other = (record(number, Status.COMPLETED, value) for number, value in enumerate((0.9, 0.8)))
    write_runs(files, one, 1, [0.5, 0.5], None, [0.5, 0.5])
    write_runs(files, other, 1, [1.0, 1.0], [0.5, 0.5], [1.0, 1.0])
    selection = select_winner(files, Objective("few_shot_accuracy", "max"), [one, other], 2)
    scores = [MethodScores(method="PAN")]
    first, second, third = printed(print_selection, replace(empty_summary, selection=selection, scores=scores))
    assert first.startswith("  val at selection 0.8000, at confirmation 0.8333 [")
    assert second.startswith(
        f"  trial 0 ({one.trial_id}): 0.9000, at confirmation 0.5000 [0.5000, 0.5000], the winner ahead by 0.5000 ["
    )
    assert "; 2 runs of 1 epoch, 1 failed (" in second
    assert third.startswith(f"  trial 1 ({other.trial_id}), winner: 0.8000, at confirmation 0.8333 [")
    assert third.endswith("; 3 runs of 1 epoch")
