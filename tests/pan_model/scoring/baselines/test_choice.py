import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from pan_model.data.splits import Split
from pan_model.scoring.baselines.choice import (
    BASELINES,
    NEEDS_INPUTS,
    Baseline,
    choose_baseline,
    fit_baseline,
    names_of,
    settings_of,
)
from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.baselines.untrained import nearest_class_mean
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.task import SetScorer, Task


def test_a_baseline_without_setting_is_chosen_as_it_is_fitted(task: FewShotTask):
    chosen = choose_baseline("nearest_class_mean", task)
    expected = task.evaluate(nearest_class_mean(task.featured.features), Split.VAL)
    assert (chosen.name, chosen.setting) == ("nearest_class_mean", {})
    np.testing.assert_array_equal(chosen.scores["few_shot_accuracy"], expected["few_shot_accuracy"])


@pytest.mark.parametrize("name", NEEDS_INPUTS)
def test_a_baseline_on_a_trial_s_features_asks_for_them(name: str, task: FewShotTask):
    with pytest.raises(ValueError, match=f"{name} is fitted on a trial's normalised features; pass inputs"):
        fit_baseline(name, task, settings_of(name, task)[0])


@pytest.mark.parametrize("name", ["nearest_class", "paper_setting"])
def test_a_baseline_that_is_not_fitted_here_is_named(name: str, task: FewShotTask):
    expected = f"FewShotTask has no baseline '{name}' to fit; choose from nearest_class_mean, "
    with pytest.raises(ValueError, match=re.escape(expected)):
        settings_of(name, task)


def test_the_best_setting_on_val_is_chosen_and_one_without_numbers_is_not(
    task: FewShotTask, monkeypatch: pytest.MonkeyPatch
):
    def fit(_task: Task, settings: Sequence[Setting], inputs: np.ndarray, /) -> Iterator[SetScorer]:
        return (nearest_class_mean(inputs * float(setting["factor"])) for setting in settings)

    settings: tuple[Setting, ...] = ({"factor": float("nan")}, {"factor": 0.0}, {"factor": 1.0}, {"factor": 2.0})
    monkeypatch.setitem(BASELINES, "scaled", Baseline(fit=fit, settings=settings))
    assert choose_baseline("scaled", task).setting == {"factor": 1.0}
    assert names_of(task)[-2:] == ("scaled", "paper_setting")
