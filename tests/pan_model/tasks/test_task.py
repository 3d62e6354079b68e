"""The items that are noted are those that scores depend on."""

import numpy as np
import pytest

from pan_model.data.splits import Split
from pan_model.scoring.baselines.untrained import nearest_class_mean
from pan_model.tasks.few_shot import FewShotTask


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VAL])
def test_answers_depend_on_the_noted_items_alone(task: FewShotTask, split: Split):
    asked = task.scored_items(split)
    assert np.isin(asked, task.featured.splits[split]).all()
    assert (np.diff(asked) > 0).all()
    unknown = np.full_like(task.featured.features, np.nan)
    unknown[asked] = task.featured.features[asked]
    expected = task.evaluate(nearest_class_mean(task.featured.features), split)
    np.testing.assert_array_equal(
        task.evaluate(nearest_class_mean(unknown), split)[task.objective.name], expected[task.objective.name]
    )


def test_where_nothing_is_asked_nothing_is_noted(task: FewShotTask, monkeypatch: pytest.MonkeyPatch):
    fresh = FewShotTask(task.featured, seed=0)
    monkeypatch.setattr(fresh, "evaluate", lambda *_: {})
    assert fresh.scored_items(Split.TRAIN).tolist() == []


def test_items_are_noted_once(task: FewShotTask, monkeypatch: pytest.MonkeyPatch):
    asked = task.scored_items(Split.VAL)
    monkeypatch.delattr(FewShotTask, "evaluate")
    assert task.scored_items(Split.VAL) is asked
