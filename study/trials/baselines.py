"""Scores of the baselines that all trials of a study share, on the validation questions."""

from pathlib import Path

from pan_model.data.splits import Split
from pan_model.scoring.baselines.untrained import untrained_baselines
from pan_model.scoring.pan_scorer import pan_scorer
from study.terminal import Show
from study.trials.paper_setting import paper_setting_of_search, setting_of_search
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import QuestionLists, as_lists

PAPER_SETTING = "paper_setting"
"""The name of the baseline that is trained."""


def untrained_on_val(prepared: PreparedDataset, *, seed: int) -> dict[str, QuestionLists]:
    """Return the scores of each baseline that is not trained on the validation questions.

    Args:
        prepared: The dataset with its features.
        seed: The seed of the study, with which the questions are drawn.
    """
    task = prepared.row.make_task(prepared.featured, seed=seed)
    return {name: as_lists(task.evaluate(score, Split.VAL)) for name, score in untrained_baselines(task).items()}


def paper_setting_on_val(
    prepared: PreparedDataset, *, seed: int, max_epochs: int, cache_dir: Path, show: Show
) -> QuestionLists:
    """Return the scores of paper_setting on the validation questions; train it unless it is in the cache.

    Args:
        prepared: The dataset with its features.
        seed: The seed of the study, with which the questions are drawn. The training has a seed of its own.
        max_epochs: The epochs of the study's trials.
        cache_dir: The cache folder of the trained model.
        show: Shows the progress.

    Raises:
        UserError: If the cache cannot be written, or the value on val is never a finite number.
    """
    task = prepared.row.make_task(prepared.featured, seed=seed)
    paper = paper_setting_of_search(
        prepared, setting_of_search(prepared.dataset, max_epochs), cache_dir=cache_dir, show=show
    )
    return as_lists(task.evaluate(pan_scorer(paper.model, task, Split.VAL, paper.device), Split.VAL))
