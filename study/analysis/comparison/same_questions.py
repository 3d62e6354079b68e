"""Whether two studies can be compared on a dataset, and whether their winners answered the same questions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pan_model.command_line import counted
from pan_model.data.splits import TaskName
from pan_model.datasets import ReaderOptions, find_dataset
from pan_model.flat import Scalar
from study.analysis.study_data import DatasetData
from study.config.identity import content_of
from study.reporting.final_metrics import FinalScores
from study.trials.question_scores import read_baselines

WITNESS = "nearest_class_mean"
"""The baseline whose scores depend on the questions and the features alone."""

WITNESS_TOLERANCE = 2e-4
"""The largest difference of its mean on test, and of the ends of its interval, since machines round differently."""

UNEQUAL_SHARE = 0.01
"""The share of questions on val in which the witness may differ, since machines round differently."""


def find_refusal(reference: DatasetData, other: DatasetData) -> str:
    """Return why two studies cannot be compared on a dataset: another metric, other data or other splits; or "".

    Args:
        reference: The dataset of the study to compare with.
        other: The same dataset of another study.
    """
    first, second = reference.entry["data"], other.entry["data"]
    if reference.objective != other.objective:
        return (
            f"the metric is {other.objective.name} ({other.objective.mode}), "
            f"not {reference.objective.name} ({reference.objective.mode})"
        )
    versions = [ReaderOptions.from_json(data.get("options", {})).polyvore_split for data in (first, second)]
    if versions[0] != versions[1]:
        return f"polyvore_split is {versions[1]}, not {versions[0]}"
    if first["fingerprint"] != second["fingerprint"]:
        return f"the data differ: their fingerprint is {_short(second)}, not {_short(first)}"
    if set(first.get("unreadable", {})) != set(second.get("unreadable", {})):
        counts = [counted(len(data.get("unreadable", {})), "image") for data in (second, first)]
        return f"other images were left out as unreadable: {counts[0]}, not {counts[1]}"
    if first["splits"] != second["splits"]:
        return f"the splits differ: {_sizes(second)}, not {_sizes(first)}"
    return ""


def find_other_val_questions(reference: DatasetData, other: DatasetData, seeds: Sequence[Any]) -> str:
    """Return why the winners of two comparable studies were not asked the same questions on val, or "".

    The questions follow from the data, the splits, the task, --val-questions and, except in retrieval, the seed. The
    scores of a baseline that depends on nothing but questions and features are the proof where the features are equal.

    Args:
        reference: The dataset of the study to compare with.
        other: The same dataset of another study.
        seeds: The seeds of both studies.
    """
    first, second = (ReaderOptions.from_json(_options(data)).val_questions for data in (reference, other))
    if first != second:
        harder = "; its values on val are not comparable" if is_retrieval(reference) else ""
        return f"its questions on val are {second}, not {first}{harder}"
    if reason := find_other_seed(reference, seeds):
        return reason
    counts = [len(val_questions(data) or ()) for data in (reference, other)]
    if 0 in counts:
        return "the scores of single questions were not kept"
    if counts[0] != counts[1]:
        return f"it has {counted(counts[1], 'question')} on val, not {counts[0]}"
    return _find_other_witness(reference, other)


def find_other_seed(reference: DatasetData, seeds: Sequence[Any]) -> str:
    """Return why two studies draw other questions with their seeds, or ""; all seeds have the same in retrieval."""
    if seeds[0] == seeds[1] or is_retrieval(reference):
        return ""
    return f"its questions are others: they were drawn with seed {seeds[1]}, not {seeds[0]}"


def find_other_test_questions(
    reference: DatasetData, first: FinalScores, other: DatasetData, second: FinalScores
) -> str:
    """Return why two final trainings of the same data and seed did not answer the same questions on test, or "".

    Args:
        reference: The dataset of the study to compare with.
        first: The scores of its final training.
        other: The same dataset of another study.
        second: The scores of the other final training.
    """
    if 0 in (first.num_questions, second.num_questions):
        return "the number of questions on test was not recorded"
    if first.num_questions != second.num_questions:
        return f"it has {counted(second.num_questions, 'question')} on test, not {first.num_questions}"
    witnesses = [final.test.get(WITNESS) for final in (first, second)]
    if None in witnesses or not _have_same_features(reference, other):
        return ""
    same = np.allclose(*[np.array(witness) for witness in witnesses], rtol=0, atol=WITNESS_TOLERANCE)
    return "" if same else f"its questions are others: {WITNESS} on the same features has another score"


def val_questions(data: DatasetData) -> list[float] | None:
    """Return the winner's score of each question on val in its best epoch; None if they were not kept."""
    if data.summary.best is None:
        return None
    winner, _, epoch = data.summary.best
    kept = winner.best if winner.best is not None and winner.best.epoch == epoch else None
    return kept.questions.get(data.objective.name) if kept else None


def is_retrieval(data: DatasetData) -> bool:
    """Return whether the task of a dataset is retrieval."""
    return find_dataset(data.dataset, _options(data).get("task")).task_name is TaskName.RETRIEVAL


def _find_other_witness(reference: DatasetData, other: DatasetData) -> str:
    """Compare the scores of a baseline that depends on questions and features alone, if the features are equal."""
    if not _have_same_features(reference, other):
        return ""
    name = reference.objective.name
    scores = [read_baselines(data.files.baselines).get(WITNESS, {}).get(name) for data in (reference, other)]
    first, second = scores
    if first is None or second is None:
        return ""
    unequal = len(first) != len(second) or not np.isclose(first, second).mean() >= 1 - UNEQUAL_SHARE
    return f"its questions are others: {WITNESS} on the same features has other scores" if unequal else ""


def _have_same_features(reference: DatasetData, other: DatasetData) -> bool:
    return content_of(reference.entry["features"]) == content_of(other.entry["features"])


def differing_parameters(configs: Sequence[Mapping[str, Scalar] | None]) -> dict[str, list[Scalar | None]]:
    """Return the parameters in which configurations differ: the value of each, None where it is absent.

    >>> differing_parameters([{"gate": "OR", "seed": 0}, {"seed": 0}])
    {'gate': ['OR', None]}
    """
    given = [config for config in configs if config is not None]
    names = dict.fromkeys(name for config in given for name in config)
    rows = {name: [None if config is None else config.get(name) for config in configs] for name in names}
    return {name: values for name, values in rows.items() if len({repr(config.get(name)) for config in given}) > 1}


def _options(data: DatasetData) -> dict[str, str]:
    return data.entry["data"].get("options", {})


def _short(data: Mapping[str, Any]) -> str:
    return data["fingerprint"].removeprefix("sha256:")[:12]


def _sizes(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{split} {size}" for split, size in data["splits"].items())
