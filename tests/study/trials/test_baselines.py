"""The baselines' answers to a study's validation questions, and the file that keeps them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from pan_model.data.splits import Split
from pan_model.scoring.baselines.untrained import NORMALISED, nearest_class_mean, siamese_distance
from pan_model.scoring.pan_scorer import pan_scorer
from search_spaces import SPACES
from study.config.choices import BASELINES
from study.trials.baselines import PAPER_SETTING, paper_setting_on_val, untrained_on_val
from study.trials.paper_setting import is_setting, paper_setting_of_search, setting_of_search
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import QuestionLists

METRIC = "few_shot_accuracy"


def unwatched(line: Callable[[], str]) -> None:
    """Where nobody watches, no line is made."""


@pytest.fixture
def baselines(
    prepared: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], dict[str, QuestionLists]]:
    """Those of a study of the small dataset, whose few attributes make few conditions."""
    few = SPACES["demo"].paper_setting | {"num_conditions": 4}
    monkeypatch.setitem(SPACES, "demo", replace(SPACES["demo"], paper_setting=few))

    def score(seed: int) -> dict[str, QuestionLists]:
        paper = paper_setting_on_val(prepared, seed=seed, max_epochs=2, cache_dir=tmp_path, show=unwatched)
        return untrained_on_val(prepared, seed=seed) | {PAPER_SETTING: paper}

    return score


def test_all_that_trials_share_answer_the_study_s_own_questions(
    baselines: Callable[[int], dict[str, QuestionLists]], prepared: PreparedDataset, tmp_path: Path
):
    got = baselines(7)
    task, features = prepared.row.make_task(prepared.featured, seed=7), prepared.featured.features
    paper = paper_setting_of_search(prepared, setting_of_search("demo", 2), cache_dir=tmp_path, show=unwatched)
    expected = {
        "nearest_class_mean": nearest_class_mean(features),
        "siamese_distance": siamese_distance(features),
        "paper_setting": pan_scorer(paper.model, task, Split.VAL, paper.device),
    }
    assert got == {name: {METRIC: task.evaluate(one, Split.VAL)[METRIC].tolist()} for name, one in expected.items()}
    assert {len(questions[METRIC]) for questions in got.values()} == {100}


def test_another_seed_asks_other_questions_of_the_same_model(
    baselines: Callable[[int], dict[str, QuestionLists]], tmp_path: Path
):
    one, other = baselines(7), baselines(8)
    assert all(one[name] != other[name] for name in one)
    assert len(list((tmp_path / "paper_setting").iterdir())) == 1


def test_with_the_trial_s_own_they_are_those_of_the_tables(baselines: Callable[[int], dict[str, QuestionLists]]):
    assert {*baselines(0), NORMALISED} == set(BASELINES)


@pytest.mark.parametrize("dataset", SPACES)
def test_paper_setting_has_the_configuration_of_a_first_trial(dataset: str):
    space = SPACES[dataset]
    setting = setting_of_search(dataset, 7)
    assert space.paper_setting.items() <= {**setting, "schedule_epochs": 7}.items()
    trials = [{**space.suggest(FixedTrial(point)), "max_epochs": 7, "seed": 3} for point in space.first_trials]
    assert [is_setting(trial, setting) for trial in trials] == [True] + [False] * (len(trials) - 1)
    assert not is_setting({**trials[0], "max_epochs": 8}, setting)
    assert is_setting({**trials[0], "precision": "bfloat16"}, setting)
