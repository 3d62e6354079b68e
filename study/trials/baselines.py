"""Scores of the baselines on the validation questions: those that trials share, and those that depend on a trial.

Quick ones are scored before the trials. The others have settings, are trained, or compare many images; their scores
and the settings that were chosen on val are kept in the cache.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pan_model.data.splits import Split, ValQuestions
from pan_model.errors import UserError
from pan_model.files import check_writable
from pan_model.scoring.baselines.choice import (
    NEEDS_INPUTS,
    PAPER_SETTING,
    Chosen,
    choose_baseline,
    names_of,
    settings_of,
)
from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.pan_scorer import pan_scorer
from pan_model.shapes import Float
from pan_model.tasks.task import Task
from study.config.identity import content_of, digest
from study.storage.files import write_json
from study.storage.json_models import JsonModel, JsonScalar, parse_model
from study.storage.location import Location
from study.terminal import Show
from study.trials.paper_setting import paper_setting_of_search, setting_of_search
from study.trials.preparation import PreparedDataset
from study.trials.question_scores import CheckedQuestionLists, QuestionLists, as_lists, write_baselines

QUICK = ("nearest_class_mean", "centred_l2", "siamese_distance")
"""The baselines that are scored before the trials, since they have one setting and are not trained."""

CACHE_FOLDER = "baselines"
CACHE_VERSION = 2
"""Part of the cache key. Increase it when a change of the code changes the scores of a baseline."""


class BaselineScores(NamedTuple):
    """The scores of a baseline on the validation questions, and its setting, empty if there was nothing to choose."""

    questions: QuestionLists
    setting: Setting


class _CachedFile(JsonModel):
    questions: CheckedQuestionLists
    setting: dict[str, JsonScalar]


def slow_names(task: Task) -> tuple[str, ...]:
    """Return the baselines that trials share and that are not quick, without paper_setting."""
    others = (*QUICK, *NEEDS_INPUTS, PAPER_SETTING)
    return tuple(name for name in names_of(task) if name not in others)


def quick_on_val(task: Task) -> dict[str, BaselineScores]:
    """Return the scores of each quick baseline on the validation questions."""
    return {name: _as_scores(choose_baseline(name, task)) for name in names_of(task) if name in QUICK}


def own_on_val(task: Task, inputs: Float[np.ndarray, "N D"]) -> dict[str, BaselineScores]:
    """Return the scores of the baselines that depend on a trial's normalisation, on the validation questions.

    Args:
        task: The task of the trial.
        inputs: The features of all items, normalised as in the trial.
    """
    return {name: _as_scores(choose_baseline(name, task, inputs=inputs)) for name in own_names(task)}


def own_names(task: Task) -> tuple[str, ...]:
    """Return the task's baselines that depend on a trial's normalisation."""
    return tuple(name for name in names_of(task) if name in NEEDS_INPUTS)


def slow_on_val(prepared: PreparedDataset, name: str, *, seed: int, cache_dir: Path, show: Show) -> BaselineScores:
    """Return the scores of a slow baseline on the validation questions, from the cache if they are there.

    Args:
        prepared: The dataset with its features.
        name: One of `slow_names`.
        seed: The seed of the study, with which the questions are drawn.
        cache_dir: The cache folder of the scores.
        show: Shows the progress.

    Raises:
        UserError: If the cache cannot be written.
    """
    task = prepared.row.make_task(prepared.featured, seed=seed)
    file = cache_dir / CACHE_FOLDER / f"{_key(prepared, name, settings_of(name, task), seed)}.json"
    cached = _read_cached(file)
    if cached is not None:
        return cached
    check_writable(file.parent, f"the baseline {name}")
    show(lambda: f"baseline {name}")
    scores = _as_scores(choose_baseline(name, task))
    try:
        write_json(file, {"questions": scores.questions, "setting": scores.setting})
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error}); give another --cache-dir.") from error
    return scores


def paper_setting_on_val(
    prepared: PreparedDataset, *, seed: int, max_epochs: int, cache_dir: Path, show: Show
) -> BaselineScores:
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
    scores = task.evaluate(pan_scorer(paper.model, task, Split.VAL, paper.device), Split.VAL)
    return BaselineScores(as_lists(scores), {})


def write_scores(path: Location, scores: Mapping[str, BaselineScores]) -> None:
    """Write a baselines.json: of a dataset, or of a trial for those that depend on its normalisation."""
    questions = {name: of_val.questions for name, of_val in scores.items()}
    write_baselines(path, questions, {name: of_val.setting for name, of_val in scores.items() if of_val.setting})


def _as_scores(chosen: Chosen) -> BaselineScores:
    return BaselineScores(as_lists(chosen.scores), dict(chosen.setting))


def _key(prepared: PreparedDataset, name: str, settings: Sequence[Setting], seed: int) -> str:
    """Return the hash of everything that the scores of a baseline depend on."""
    questions = prepared.val_questions
    return digest(
        [
            CACHE_VERSION,
            name,
            list(settings),
            prepared.fingerprint,
            content_of(prepared.features),
            prepared.options.get("task"),
            None if questions is ValQuestions.FULL else questions.value,
            seed,
        ]
    )


def _read_cached(file: Path) -> BaselineScores | None:
    """Return the scores in a file of the cache; a damaged file counts as missing."""
    try:
        cached = parse_model(file, file.read_bytes(), _CachedFile, "remove it")
    except (OSError, UserError):
        return None
    return BaselineScores(cached.questions, cached.setting)
