"""The baselines of a study: scored before the trials, and paper_setting from a trial where one is that."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FixedTrial

from pan_model.scoring.baselines.choice import PAPER_SETTING, names_of
from search_spaces import SPACES
from study.config.study_config import StudyConfig
from study.terminal import Terminal
from study.trials.baselines import QUICK, own_names, slow_names
from study.trials.ledger import BestEpoch, Status, TrialLedger
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import read_baselines, read_settings
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
        objective = {"name": "few_shot_accuracy", "mode": "max"}
        content: dict[str, Any] = {"datasets": {"demo": {"data": {}, "objective": objective}}}
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
    assert {"nearest_class_mean", "siamese_distance"} <= known(config) <= set(QUICK)


def test_the_first_trial_answers_for_paper_setting(start: Start, config: StudyConfig):
    baselines = start()
    assert PAPER_SETTING not in {job.name for job in baselines.to_compute()}
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
    assert (PAPER_SETTING in {job.name for job in baselines.to_compute()}) is is_trained


def test_a_space_without_it_has_it_trained(start: Start, tmp_path: Path):
    config = StudyConfig(
        datasets=("demo",), output=tmp_path / "results", cache_dir=tmp_path / "cache", encoders=("proxynca",)
    )
    assert start(config).to_compute()[0] == ("demo", PAPER_SETTING, config.plans[0].max_epochs)


def test_what_comes_from_no_trial_is_trained_once(
    start: Start, config: StudyConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    few = SPACES["demo"].paper_setting | {"num_conditions": 4}  # as many as the small dataset has attributes
    monkeypatch.setitem(SPACES, "demo", replace(SPACES["demo"], paper_setting=few))
    write_paper_trial(config, Status.FAILED)
    baselines = start()
    baselines.write()
    for _ in range(2):
        baselines.compute(baselines.unknown())
    scores = read_baselines(config.results.dataset("demo").baselines)[PAPER_SETTING]
    assert scores != QUESTIONS
    value = math.fsum(scores[METRIC]) / len(scores[METRIC])
    assert capsys.readouterr().out.count(f"baseline paper_setting's {METRIC} on val: {value:.4f}\n") == 1


def test_what_is_computed_is_written_with_its_setting_and_named_in_study_json(
    config: StudyConfig, prepared: PreparedDataset
):
    content: dict[str, Any] = {"datasets": {"demo": {"data": {}}}}
    baselines = SharedBaselines(config, [prepared], content, Terminal())
    baselines.score()
    baselines.write()
    task = prepared.row.make_task(prepared.featured, seed=0)
    assert content["datasets"]["demo"]["baselines"] == list(names_of(task))
    jobs = [job for job in baselines.to_compute() if job.name in slow_names(task)[:1]]
    baselines.compute(jobs)
    assert {job.name for job in jobs} <= known(config)
    assert not {job.name for job in jobs} & {job.name for job in baselines.unknown()}
    assert read_settings(config.results.dataset("demo").baselines).keys() <= known(config)


def test_a_winner_of_an_earlier_version_gets_the_baselines_of_its_normalisation(
    start: Start, config: StudyConfig, prepared: PreparedDataset
):
    ledger = write_paper_trial(config, Status.COMPLETED)
    baselines = start()
    baselines.complete_winners()
    task = prepared.row.make_task(prepared.featured, seed=config.seed)
    scores = read_baselines(ledger.baselines_file)
    assert {*scores} == {*own_names(task)}
    written = ledger.baselines_file.stat().st_mtime_ns
    baselines.complete_winners()
    assert ledger.baselines_file.stat().st_mtime_ns == written  # it is known now
