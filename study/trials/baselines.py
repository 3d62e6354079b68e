"""Scores of the baselines that all trials of a study share, on the validation questions."""

from pathlib import Path

from pan_model.data.splits import Split
from pan_model.scoring.baselines import untrained_baselines
from pan_model.scoring.pan_scorer import pan_scorer
from search_spaces import SPACES
from study.terminal import Show
from study.trials.paper_setting import paper_setting_of_search
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import QuestionLists, as_lists


def validation_baselines(
    prepared: PreparedDataset, *, seed: int, max_epochs: int, cache_dir: Path, show: Show
) -> dict[str, QuestionLists]:
    """Return the scores of each baseline on the validation questions; train paper_setting unless it is in the cache.

    Args:
        prepared: The dataset with its features.
        seed: The seed of the study, with which the questions are drawn.
        max_epochs: The epochs of the study's trials.
        cache_dir: The cache folder of the trained paper_setting.
        show: Shows the progress.
    """
    task = prepared.row.make_task(prepared.featured, seed=seed)
    paper = paper_setting_of_search(
        prepared, SPACES[prepared.dataset].paper_setting, max_epochs=max_epochs, cache_dir=cache_dir, show=show
    )
    scorers = untrained_baselines(task) | {"paper_setting": pan_scorer(paper.model, task, Split.VAL, paper.device)}
    return {name: as_lists(task.evaluate(scorer, Split.VAL)) for name, scorer in scorers.items()}
