"""The baselines' answers to a study's validation questions, and the file that keeps them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.scoring.baselines.choice import PAPER_SETTING, names_of
from pan_model.scoring.baselines.untrained import nearest_class_mean, normalised_features, siamese_distance
from pan_model.scoring.pan_scorer import pan_scorer
from search_spaces import SPACES
from study.config.choices import BASELINES
from study.trials.baselines import (
    BaselineScores,
    own_names,
    own_on_val,
    paper_setting_on_val,
    quick_on_val,
    slow_names,
    slow_on_val,
)
from study.trials.paper_setting import is_setting, paper_setting_of_search, setting_of_search
from study.trials.preparation import PreparedDataset

METRIC = "few_shot_accuracy"
WHITENED = SPACES["demo"].first_trials[-1] | {"pairs_per_epoch": 64, "max_epochs": 2, "seed": 0, "encoder": "siamese"}


def unwatched(line: Callable[[], str]) -> None:
    """Where nobody watches, no line is made."""


Score = Callable[[int], dict[str, BaselineScores]]


@pytest.fixture
def baselines(prepared: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    """Those of a study of the small dataset, whose few attributes make few conditions."""
    few = SPACES["demo"].paper_setting | {"num_conditions": 4}
    monkeypatch.setitem(SPACES, "demo", replace(SPACES["demo"], paper_setting=few))

    def score(seed: int) -> dict[str, BaselineScores]:
        paper = paper_setting_on_val(prepared, seed=seed, max_epochs=2, cache_dir=tmp_path, show=unwatched)
        return quick_on_val(prepared.row.make_task(prepared.featured, seed=seed)) | {PAPER_SETTING: paper}

    return score


def test_all_that_trials_share_answer_the_study_s_own_questions(
    baselines: Score, prepared: PreparedDataset, tmp_path: Path
):
    scores = baselines(7)
    task, features = prepared.row.make_task(prepared.featured, seed=7), prepared.featured.features
    paper = paper_setting_of_search(prepared, setting_of_search("demo", 2), cache_dir=tmp_path, show=unwatched)
    expected = {
        "nearest_class_mean": nearest_class_mean(features),
        "siamese_distance": siamese_distance(features),
        "paper_setting": pan_scorer(paper.model, task, Split.VAL, paper.device),
    }
    for name, one in expected.items():
        assert scores[name] == ({METRIC: task.evaluate(one, Split.VAL)[METRIC].tolist()}, {})
    assert {len(of_val.questions[METRIC]) for of_val in scores.values()} == {100}


def test_another_seed_asks_other_questions_of_the_same_model(baselines: Score, tmp_path: Path):
    one, other = baselines(7), baselines(8)
    assert all(one[name] != other[name] for name in one)
    assert len(list((tmp_path / "paper_setting").iterdir())) == 1


def test_quick_slow_and_own_ones_are_all_of_the_task_in_the_order_of_tables(prepared: PreparedDataset):
    task = prepared.row.make_task(prepared.featured, seed=0)
    names = names_of(task)
    assert sorted(names) == sorted([*quick_on_val(task), *slow_names(task), *own_names(task), PAPER_SETTING])
    assert names == tuple(name for name in BASELINES if name in names)


def test_those_of_a_trial_are_scored_on_its_normalised_features(prepared: PreparedDataset):
    task = prepared.row.make_task(prepared.featured, seed=7)
    inputs = normalised_features(task, TrialConfig.from_flat(WHITENED).normalisation)
    own = own_on_val(task, inputs)
    assert {*own} == {*own_names(task)}
    expected = task.evaluate(nearest_class_mean(inputs), Split.VAL)[METRIC]
    assert own["nearest_class_mean_normalised"].questions[METRIC] == expected.tolist()


def test_slow_ones_are_computed_once_for_the_questions_of_a_seed(prepared: PreparedDataset, tmp_path: Path):
    task = prepared.row.make_task(prepared.featured, seed=7)
    name = slow_names(task)[0]

    def score(seed: int) -> BaselineScores:
        return slow_on_val(prepared, name, seed=seed, cache_dir=tmp_path, show=unwatched)

    first = score(7)
    [file] = (tmp_path / "baselines").iterdir()
    changed = json.loads(file.read_text())
    changed["questions"][METRIC][0] = 0.125
    file.write_text(json.dumps(changed))
    assert score(7).questions[METRIC] == [0.125, *first.questions[METRIC][1:]]
    file.write_text("{")  # a damaged file counts as missing
    assert score(7) == first
    assert score(8) != first
    assert len([*(tmp_path / "baselines").iterdir()]) == 2


@pytest.mark.parametrize("dataset", SPACES)
def test_paper_setting_has_the_configuration_of_a_first_trial(dataset: str):
    space = SPACES[dataset]
    setting = setting_of_search(dataset, 7)
    assert space.paper_setting.items() <= {**setting, "schedule_epochs": 7}.items()
    trials = [{**space.suggest(FixedTrial(point)), "max_epochs": 7, "seed": 3} for point in space.first_trials]
    assert [is_setting(trial, setting) for trial in trials] == [True] + [False] * (len(trials) - 1)
    assert not is_setting({**trials[0], "max_epochs": 8}, setting)
    assert is_setting({**trials[0], "precision": "bfloat16"}, setting)
