"""Whether studies can be compared, and whether questions are the same."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.analysis.comparison.same_questions import find_other_val_questions, find_refusal
from study.analysis.study_data import DatasetData, read_study_data
from study.storage.paths import StudyPaths

Write = Callable[..., StudyPaths]


@pytest.fixture
def read(tmp_path: Path, write_study: Write) -> Callable[..., DatasetData]:
    def read_one(name: str, dataset: str = "demo", **changes: Any) -> DatasetData:
        return read_study_data(write_study(tmp_path / name, datasets=(dataset,), **changes)).datasets[dataset]

    return read_one


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"objective": {"name": "few_shot_accuracy", "mode": "min"}}, r"^the metric is few_shot_accuracy \(min\), not"),
        (
            {"data": {"fingerprint": f"sha256:{'01' * 32}"}},
            "^the data differ: their fingerprint is 010101010101, not ef",
        ),
        ({"data": {"splits": {"train": 48, "val": 23}}}, "^the splits differ: train 48, val 23, not train 48, val 24$"),
        (
            {"data": {"unreadable": {"a.jpg": "cut"}}},
            "^other images were left out as unreadable: 1 image, not 0 images",
        ),
    ],
)
def test_other_data_metrics_and_splits_are_refused(read: Callable[..., DatasetData], changes: Any, reason: str):
    refusal = find_refusal(read("a"), read("b", **changes))
    assert re.match(reason, refusal), refusal


def test_another_version_of_polyvore_is_refused(read: Callable[..., DatasetData]):
    first = read("a", "polyvore", data={"options": {}})
    second = read("b", "polyvore", data={"options": {"polyvore_split": "disjoint"}})
    assert find_refusal(first, second) == "polyvore_split is disjoint, not nondisjoint"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 1},
        {"max_epochs": 40},
        {"features": {"backbone": "resnet50", "weights_sha256": "cd" * 32}},
        {"data": {"options": {"task": "few-shot", "val_questions": "full"}}},
    ],
)
def test_other_seeds_backbones_and_searches_can_be_compared(read: Callable[..., DatasetData], changes: Any):
    assert find_refusal(read("a"), read("b", **changes)) == ""


def test_questions_of_the_same_data_and_seed_are_the_same(read: Callable[..., DatasetData]):
    witness = [0.5, 0.5, 0.75, 1.0]
    assert find_other_val_questions(read("a", witness=witness), read("b", witness=witness), (0, 0)) == ""


def test_another_seed_draws_other_questions_except_in_retrieval(read: Callable[..., DatasetData]):
    reason = "its questions are others: they were drawn with seed 1, not 0"
    assert find_other_val_questions(read("a"), read("b"), (0, 1)) == reason
    retrieval = {"data": {"options": {"task": "retrieval", "val_questions": "reduced"}}}
    assert find_other_val_questions(read("a", **retrieval), read("b", **retrieval), (0, 1)) == ""


def test_full_and_reduced_questions_are_others(read: Callable[..., DatasetData]):
    older = {"data": {"options": {}}}  # studies of version 0.1 asked the full questions
    reason = "its questions on val are full, not reduced"
    assert find_other_val_questions(read("a"), read("b", **older), (0, 0)) == reason
    first = read("c", "inshop")
    second = read("d", "inshop", **older)
    assert find_other_val_questions(first, second, (0, 0)) == f"{reason}; its values on val are not comparable"


def test_the_number_of_questions_must_be_the_same(read: Callable[..., DatasetData]):
    reason = find_other_val_questions(read("a"), read("b", questions=[0.5, 0.5]), (0, 0))
    assert reason == "it has 2 questions on val, not 4"


def test_a_winner_without_scores_of_questions_is_told(read: Callable[..., DatasetData], tmp_path: Path):
    first, _ = read("a"), read("b")
    (tmp_path / "b" / "demo" / "trials" / "b0" / "best_epoch.json").unlink()
    second = read_study_data(StudyPaths(tmp_path / "b")).datasets["demo"]
    assert find_other_val_questions(first, second, (0, 0)) == "the scores of single questions were not kept"


def test_a_baseline_proves_whether_questions_are_the_same(read: Callable[..., DatasetData]):
    first, second = read("a", witness=[0.5, 0.5, 0.75, 1.0]), read("b", witness=[0.5, 0.75, 0.5, 1.0])
    reason = "its questions are others: nearest_class_mean on the same features has other scores"
    assert find_other_val_questions(first, second, (0, 0)) == reason
    other_features = {"features": {"weights_sha256": "cd" * 32}}
    third = read("c", witness=[0.5, 0.75, 0.5, 1.0], **other_features)
    assert find_other_val_questions(first, third, (0, 0)) == ""
