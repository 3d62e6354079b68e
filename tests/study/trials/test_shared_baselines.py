"""The baselines of a study: scored before the trials, and paper_setting from a trial where one is that."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FixedTrial

from search_spaces import SPACES
from study.config.study_config import StudyConfig
from study.terminal import Terminal
from study.trials.baselines import PAPER_SETTING
from study.trials.ledger import BestEpoch, Status, TrialLedger
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import read_baselines
from study.trials.shared_baselines import SharedBaselines

METRIC = "few_shot_accuracy"
QUESTIONS = {METRIC: [0.25, 0.75]}

Start = Callable[..., SharedBaselines]


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return StudyConfig(datasets=("demo",), output=tmp_path / "results", cache_dir=tmp_path / "cache", max_epochs=3)


@pytest.fixture
def start(config: StudyConfig, prepared: PreparedDataset) -> Start:
    """Begin a run of the study, or of one of another space."""

    def begin(of_study: StudyConfig = config) -> SharedBaselines:
        content: dict[str, Any] = {"datasets": {"demo": {"data": {}}}}
        baselines = SharedBaselines(of_study, [prepared], content, Terminal())
        baselines.score()
        return baselines

    return begin


def write_paper_trial(config: StudyConfig, status: Status) -> TrialLedger:
    space = SPACES["demo"]
    values = {**space.suggest(FixedTrial(space.paper_setting)), "max_epochs": 3, "seed": config.seed}
    ledger = TrialLedger(config.results.dataset("demo").trials / "paper")
    ledger.open(number=0, config={key: value for key, value in values.items() if key != "schedule_epochs"})
    ledger.add_epoch({"epoch": 1, METRIC: 0.5}, {}, BestEpoch(epoch=1, questions=QUESTIONS, baselines={}))
    if status is not Status.RUNNING:
        ledger.close(status)
    return ledger


def known(config: StudyConfig) -> set[str]:
    return {*read_baselines(config.results.dataset("demo").baselines)}


def test_nothing_is_written_before_the_study_is(start: Start, config: StudyConfig):
    baselines = start()
    assert not config.results.root.exists()
    baselines.write()
    assert known(config) == {"nearest_class_mean", "siamese_distance"}


def test_the_first_trial_answers_for_paper_setting(start: Start, config: StudyConfig):
    baselines = start()
    assert baselines.to_train() == []
    baselines.write()
    baselines.trial_ended("demo", write_paper_trial(config, Status.COMPLETED).read(best=False))
    assert read_baselines(config.results.dataset("demo").baselines)[PAPER_SETTING] == QUESTIONS


@pytest.mark.parametrize(
    ("status", "is_known", "is_trained"),
    [(Status.RUNNING, False, False), (Status.COMPLETED, True, False), (Status.STOPPED, False, True)],
)
def test_a_resumed_study_asks_its_ledger(
    start: Start, config: StudyConfig, status: Status, is_known: bool, is_trained: bool
):
    write_paper_trial(config, status)
    baselines = start()
    baselines.write()
    assert (PAPER_SETTING in known(config)) is is_known
    assert bool(baselines.to_train()) is is_trained


def test_a_space_without_it_has_it_trained(start: Start, tmp_path: Path):
    config = StudyConfig(
        datasets=("demo",), output=tmp_path / "results", cache_dir=tmp_path / "cache", encoders=("proxynca",)
    )
    assert [plan.dataset for plan in start(config).to_train()] == ["demo"]


def test_what_comes_from_no_trial_is_trained_once(
    start: Start, config: StudyConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    few = SPACES["demo"].paper_setting | {"num_conditions": 4}  # as many as the small dataset has attributes
    monkeypatch.setitem(SPACES, "demo", replace(SPACES["demo"], paper_setting=few))
    write_paper_trial(config, Status.FAILED)
    baselines = start()
    baselines.write()
    for _ in range(2):
        baselines.train(config.plans)
    scores = read_baselines(config.results.dataset("demo").baselines)[PAPER_SETTING]
    assert scores != QUESTIONS
    value = math.fsum(scores[METRIC]) / len(scores[METRIC])
    assert capsys.readouterr().out.count(f"baseline paper_setting's {METRIC} on val: {value:.4f}\n") == 1
