"""Which space a dataset has for each task, and what is said where it has none."""

import pytest

from pan_model.data.splits import TaskName
from pan_model.errors import UserError
from search_spaces import RETRIEVAL_SPACES, SPACES, UNLABELLED_RETRIEVAL_SPACES
from study.config.choices import Regime
from study.config.search_space import choose_space, full_space

CHOOSING = sorted(RETRIEVAL_SPACES)


@pytest.mark.parametrize("dataset", CHOOSING)
def test_a_dataset_with_a_choice_of_the_task_has_a_space_for_each(dataset: str):
    few_shot = choose_space(dataset, None, Regime.FROZEN, task=TaskName.FEW_SHOT)
    assert few_shot == choose_space(dataset, None, Regime.FROZEN) == SPACES[dataset]
    retrieval = choose_space(dataset, None, Regime.FROZEN, task=TaskName.RETRIEVAL)
    assert retrieval.first_trials == RETRIEVAL_SPACES[dataset].first_trials
    assert dict(retrieval.unsupported) == {"graph": "its queries have no neighbours with --task retrieval"}


def test_a_dataset_whose_own_task_is_retrieval_has_its_space_with_and_without_it():
    assert choose_space("inshop", None, Regime.FROZEN, task=TaskName.RETRIEVAL) == SPACES["inshop"]


@pytest.mark.parametrize("regime", Regime)
@pytest.mark.parametrize(
    ("dataset", "task", "rule"),
    [
        (
            "polyvore",
            TaskName.RETRIEVAL,
            r"--task retrieval does not apply to polyvore; it applies to demo, cub, inshop",
        ),
        ("polyvore", TaskName.FEW_SHOT, r"--task few-shot does not apply to polyvore; it applies to demo, cub, folder"),
        ("inshop", TaskName.FEW_SHOT, r"--task few-shot does not apply to inshop, whose task is retrieval; it applies"),
    ],
)
def test_a_task_that_a_dataset_does_not_have_is_refused(dataset: str, task: TaskName, rule: str, regime: Regime):
    with pytest.raises(UserError, match=rf"^{rule}.*\.$"):
        choose_space(dataset, None, regime, task=task)
    with pytest.raises(UserError, match=rf"^{rule}.*\.$"):
        full_space(dataset, regime, task=task)


def test_a_space_that_was_not_registered_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(RETRIEVAL_SPACES, "cub")
    with pytest.raises(UserError, match=r"has no space for cub with --task retrieval; add a row\.$"):
        choose_space("cub", None, Regime.FROZEN, task=TaskName.RETRIEVAL)
    monkeypatch.delitem(UNLABELLED_RETRIEVAL_SPACES, "folder")
    rule = (
        r"^search_spaces/__init__\.py has no space for folder with --task retrieval and images without attributes; add"
    )
    with pytest.raises(UserError, match=rule):
        choose_space("folder", None, Regime.FROZEN, task=TaskName.RETRIEVAL, labelled=False)
