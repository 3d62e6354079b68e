"""The candidates of a confirmation are the best trial on val and those that may be better; copies of it are not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pan_model.errors import UserError
from pan_model.objective import Objective
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import BestEpoch, Status, TrialLedger, TrialRecord
from study.trials.selection.candidates import choose_candidates
from study.trials.selection.confirmation import select_winner

METRIC = "few_shot_accuracy"
Make = Callable[..., Any]


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    return tmp_path / "trials"


@pytest.fixture
def ranked(record: Make) -> list[tuple[TrialRecord, float, int]]:
    """Four trials with the scores of 8 questions: the best, its copy, another one with the same mean, a bad one."""
    questions = ([1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0, 0, 0])
    return [_with_scores(record, number, [float(score) for score in scores]) for number, scores in enumerate(questions)]


def _with_scores(record: Make, number: int, scores: list[float], sign: float = 1.0) -> tuple[TrialRecord, float, int]:
    value = sign * sum(scores) / len(scores)
    best = BestEpoch(epoch=1, questions={METRIC: [sign * score for score in scores]}, baselines={})
    return record(number, Status.COMPLETED, value, best=best), value, 1


def _numbers(chosen: list[tuple[TrialRecord, float, int]]) -> list[int]:
    return [record.number for record, _, _ in chosen]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_trial_that_may_be_better_comes_before_a_copy(record: Make, ranked: list[Any], trials: Path, direction: str):
    sign = 1.0 if direction == "max" else -1.0
    signed = [_with_scores(record, place, trial[0].best.questions[METRIC], sign) for place, trial in enumerate(ranked)]
    objective = Objective(METRIC, direction)
    assert _numbers(choose_candidates(trials, signed, objective, 2)) == [0, 2]
    assert _numbers(choose_candidates(trials, signed[:2], objective, 2)) == [0, 1], "none is left out"
    assert _numbers(choose_candidates(trials, signed, objective, 1)) == [0]
    assert choose_candidates(trials, [], objective, 3) == []


def test_first_trials_that_may_be_as_good_are_candidates_too(ranked: list[Any], trials: Path):
    objective = Objective(METRIC, "max")
    for place, expected in ((2, [0, 2]), (3, [0])):  # the bad one is clearly behind
        first = [{"num_conditions": -1}, dict(ranked[place][0].config)]
        assert _numbers(choose_candidates(trials, ranked, objective, 1, first)) == expected
    rest = [_without_scores(trial) for trial in ranked]
    assert _numbers(choose_candidates(trials, rest, objective, 1, [ranked[2][0].config])) == [0, 2], "the same value"


def _without_scores(trial: tuple[TrialRecord, float, int]) -> tuple[TrialRecord, float, int]:
    return replace(trial[0], best=None), *trial[1:]


def test_candidates_differ_from_each_other_too(record: Make, ranked: list[Any], trials: Path):
    best, other = ranked[0], ranked[2]
    copy_of_other = _with_scores(record, 4, other[0].best.questions[METRIC])
    third = _with_scores(record, 5, [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    assert _numbers(choose_candidates(trials, [best, other, copy_of_other, third], Objective(METRIC, "max"), 3)) == [
        0,
        2,
        5,
    ]


def test_without_scores_of_the_same_questions_the_best_on_val_are_the_candidates(
    record: Make, ranked: list[Any], trials: Path
):
    objective = Objective(METRIC, "max")
    without = [_without_scores(trial) for trial in ranked]
    of_another_epoch = [(trial, value, 2) for trial, value, _ in ranked]
    fewer = [ranked[0], ranked[1], _with_scores(record, 2, [0.75])]
    for lacking in (without, of_another_epoch, fewer):
        assert _numbers(choose_candidates(trials, lacking, objective, 2)) == [0, 1]


def test_scores_that_were_not_read_come_from_the_ledger(tmp_path: Path, ranked: list[Any], write_trial: Make):
    files: DatasetPaths = StudyPaths(tmp_path).dataset("demo")
    for trial, _, _ in ranked:
        write_trial(files.trials, trial)
    unread = [replace(trial, best=None) for trial, _, _ in ranked]
    objective = Objective(METRIC, "max")
    selection = select_winner(files, objective, unread, 2)
    assert [candidate.record.number for candidate in selection.candidates] == [0, 2]
    assert selection.candidates[0].selected is not None, "their scores are kept for the interval at selection"
    file = TrialLedger(files.trials / "trial1").best_epoch_file
    file.write_text("{")
    with pytest.raises(UserError, match=r"best_epoch\.json"):
        select_winner(files, objective, unread, 2)
