"""The paired rule: evidence, guard for slow starters, questions, and the incumbent."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest

from pan_model.objective import Objective
from study.trials.ledger import Status, TrialRecord
from study.tuning.stopping.paired import MAX_FINISHED, MIN_FINISHED, PairedRule

METRIC = "few_shot_accuracy"
CONFIG: dict[str, Any] = {"learning_rate": 3e-4, "first_weights": "distance"}
NUM_QUESTIONS = 200
Make = Callable[..., TrialRecord]


def questions(mean: float, noise: float = 0.05, seed: int = 0) -> list[float]:
    """Return scores with a mean; all trials find the same questions hard, and differ by noise."""
    hard = np.random.default_rng(99).normal(0, 0.2, NUM_QUESTIONS)
    scores = hard + np.random.default_rng(seed).normal(0, noise, NUM_QUESTIONS)
    return list(scores - scores.mean() + mean)


class Scores:
    """The scores of trials by epoch; `asked` lists what a rule read."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, int], list[float]] = {}
        self.asked: list[tuple[str, int]] = []

    def __call__(self, trial_id: str, epoch: int) -> list[float] | None:
        self.asked.append((trial_id, epoch))
        return self.of.get((trial_id, epoch))


@pytest.fixture
def scores() -> Scores:
    return Scores()


@pytest.fixture
def finish(record: Make, scores: Scores) -> Callable[..., None]:
    """Give completed trials to a rule, by their curves."""

    def give(rule: PairedRule, *curves: tuple[float, ...], first: int = 0, status: Status = Status.COMPLETED) -> None:
        for number, values in enumerate(curves, first):
            for epoch, value in enumerate(values, 1):
                scores.of[f"trial{number}", epoch] = questions(value, seed=number)
            rule.add(record(number, status, *values, config=CONFIG))

    return give


def rule_of(scores: Scores, mode: Literal["max", "min"] = "max") -> PairedRule:
    return PairedRule(Objective(METRIC, mode), scores)


def judge(rule: PairedRule, scores: Scores, value: float, epoch: int = 1, **changes: Any) -> bool:
    """Return whether the rule stops a new trial with this value."""
    scores.of.setdefault(("new", epoch), questions(value, seed=1000))
    return rule.stops("new", {**CONFIG, **changes}, epoch, value)


FLAT = ((0.9, 0.9, 0.9),) * 12


def test_a_trial_far_behind_is_stopped_and_one_that_is_near_is_not(scores: Scores, finish: Any):
    rule = rule_of(scores)
    finish(rule, *FLAT)
    assert judge(rule, scores, 0.5)
    scores.of.clear()
    finish(rule, *FLAT)
    assert not judge(rule, scores, 0.895)
    assert not judge(rule, scores, 0.95)


def test_lower_may_be_better(scores: Scores, finish: Any):
    rule = rule_of(scores, "min")
    finish(rule, *((0.1, 0.1, 0.1),) * 12)
    assert judge(rule, scores, 0.5)
    scores.of.pop(("new", 1))
    assert not judge(rule, scores, 0.05)


def test_nothing_is_stopped_before_there_is_evidence(scores: Scores, finish: Any):
    rule = rule_of(scores)
    assert not judge(rule, scores, 0.0)
    finish(rule, *FLAT[: MIN_FINISHED - 1])
    finish(rule, *FLAT, first=50, status=Status.STOPPED)
    finish(rule, *FLAT, first=70, status=Status.RUNNING)
    assert not judge(rule, scores, 0.0)
    finish(rule, FLAT[0], first=90)
    assert judge(rule, scores, 0.0)


def test_curves_that_rose_protect_those_that_start_low(scores: Scores, finish: Any):
    slow = [(0.2, 0.5, 0.85), (0.3, 0.6, 0.8), (0.25, 0.4, 0.88), (0.1, 0.5, 0.86)] * 3
    rule = rule_of(scores)
    finish(rule, *slow, (0.9, 0.9, 0.9))
    assert not judge(rule, scores, 0.3)
    rule = rule_of(scores)
    finish(rule, *((0.3, 0.3, 0.3),) * 12, (0.9, 0.9, 0.9))
    assert judge(rule, scores, 0.3)


def test_the_incumbent_s_own_rise_counts(scores: Scores, finish: Any):
    """At the same epoch a trial may be ahead of an incumbent that later rose far above it."""
    rule = rule_of(scores)
    finish(rule, *((0.5, 0.5, 0.5),) * 12, (0.45, 0.9, 0.95))
    assert judge(rule, scores, 0.46)


def test_noisy_questions_widen_the_interval(scores: Scores, finish: Any):
    for noise, stops in ((0.02, True), (2.0, False)):
        rule = rule_of(scores)
        scores.of.clear()
        finish(rule, *((0.9, 0.9, 0.9),) * 40)
        scores.of["new", 1] = questions(0.86, noise, seed=7)
        assert rule.stops("new", CONFIG, 1, 0.86) is stops


def test_trials_that_cannot_be_compared_are_not_stopped(scores: Scores, finish: Any):
    rule = rule_of(scores)
    finish(rule, *FLAT)
    assert not rule.stops("without", CONFIG, 1, 0.0)
    scores.of["other", 1] = [0.0] * 3
    assert not rule.stops("other", CONFIG, 1, 0.0)
    scores.of["new", 1] = questions(0.0)
    scores.of.pop(("trial0", 2))
    assert rule.stops("new", CONFIG, 1, 0.0)
    assert not rule.stops("new", CONFIG, 2, 0.0)


def test_an_incumbent_that_ended_before_is_compared_at_its_last_epoch(scores: Scores, finish: Any):
    rule = rule_of(scores)
    finish(rule, *FLAT)
    assert not judge(rule, scores, 0.3, epoch=7)  # no finished trial shows how much a curve rises after that
    finish(rule, *((0.3,) * 9,) * 12, first=20)
    assert judge(rule, scores, 0.3, epoch=7)
    assert ("trial0", 3) in scores.asked


def test_the_incumbent_is_the_best_completed_trial_and_its_scores_are_read_once(scores: Scores, finish: Any):
    rule = rule_of(scores)
    finish(rule, *FLAT, (0.9, 0.95, 0.9))
    for name in ("a", "b", "c"):
        scores.of[name, 1] = questions(0.3, seed=5)
        assert rule.stops(name, CONFIG, 1, 0.3)
    assert [asked for asked in scores.asked if asked[0].startswith("trial")] == [("trial12", 1)]


def test_a_decision_rests_on_the_latest_trials(scores: Scores, finish: Any, record: Make):
    rule = rule_of(scores)
    finish(rule, (0.9, 0.9, 0.9))
    for number in range(1, 3 * MAX_FINISHED):
        rule.add(record(number, Status.COMPLETED, 0.3, 0.8, config=CONFIG))
    for number in range(3 * MAX_FINISHED, 4 * MAX_FINISHED):
        rule.add(record(number, Status.COMPLETED, 0.3, 0.3, config=CONFIG))
    assert judge(rule, scores, 0.3)  # the risen ones are forgotten, the incumbent is not


def test_a_resumed_study_decides_like_one_that_ran_on(scores: Scores, finish: Any, record: Make):
    curves = [(0.3 + n / 50, 0.35 + n / 45, 0.4 + n / 40) for n in range(20)]
    live, resumed = rule_of(scores), rule_of(scores)
    for number, curve in enumerate(curves):
        finish(live, curve, first=number)
    for number, curve in enumerate(curves):
        written = record(number, Status.COMPLETED, *curve, config=CONFIG)
        resumed.add(written)
        resumed.add(replace(written))
    for value in np.linspace(0.1, 0.9, 30):
        scores.of["new", 2] = questions(float(value), seed=3)
        assert live.stops("new", CONFIG, 2, float(value)) == resumed.stops("new", CONFIG, 2, float(value))
