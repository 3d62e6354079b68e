"""What differs between studies besides their results."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.analysis.comparison.study_differences import StudyDifference, Topic, find_study_differences

Content = Callable[..., dict[str, Any]]
RECORDED = Path(__file__).parents[3] / "recorded" / "0.1" / "recorded"


def by_name(*contents: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {f"{one.topic} {one.name}": one.values for one in find_study_differences(contents)}


def test_studies_with_other_names_and_folders_do_not_differ(study_content: Content):
    first, second = study_content("a"), study_content("b")
    second["config"] |= {"data_root": "/elsewhere", "cache_dir": "/cache", "weights": "other/name.pth"}
    second["provenance"]["created"] = "2026-02-03T04:05:06+00:00"
    second["datasets"]["demo"]["features"]["weights"] = "other/name.pth"
    assert by_name(first, second) == {}


@pytest.mark.parametrize(
    ("changes", "name", "values"),
    [
        ({"max_epochs": 20}, "flags demo: --max-epochs", ("9", "20")),
        ({"data": {"splits": {"train": 9, "val": 24}}}, "data demo: items of train", ("48", "9")),
        ({"data": {"left_out": {"no label": 2}}}, "data demo: left out (no label)", ("none", "2")),
        ({"data": {"options": {}}}, "data demo: val_questions", ("reduced", "full")),
        (
            {"features": {"weights_sha256": "cd" * 32}},
            "backbone demo: weights_sha256",
            ("abababababab", "cdcdcdcdcdcd"),
        ),
        ({"features": {"preprocessing": {"crop": 8}}}, "backbone demo: preprocessing", ("none", '{"crop": 8}')),
    ],
)
def test_entries_of_a_dataset(study_content: Content, changes: Any, name: str, values: tuple[str, ...]):
    assert by_name(study_content("a"), study_content("b", **changes)) == {name: values}


def test_parameters_of_search_spaces(study_content: Content):
    first, second = study_content("a"), copy.deepcopy(study_content("b"))
    parameters = second["datasets"]["demo"]["space"]["parameters"]
    parameters["gate"] = {"choices": ["OR", "XNOR"]}
    parameters["lambda"] |= {"low": 0.1}
    del parameters["dropout"]
    found = by_name(first, second)
    assert found["space demo: gate"] == ("AND, OR, XOR, XNOR, NOR, NAND, AND_XOR", "OR, XNOR")
    assert found["space demo: lambda"] == ("1e-05..10", "0.1..10")
    assert found["space demo: dropout"][1] == "absent"
    assert len(found) == 3


def test_first_trials_of_search_spaces(study_content: Content):
    first, second = study_content("a"), copy.deepcopy(study_content("b"))
    del second["datasets"]["demo"]["space"]["first_trials"][1:]
    count = len(first["datasets"]["demo"]["space"]["first_trials"])
    assert by_name(first, second) == {"space demo: first trials": (f"{count}, set 1", "1, set 2")}


def test_flags_that_a_study_does_not_record_have_their_default(study_content: Content):
    first, second = study_content("a"), study_content("b")
    first["signed"]["sampler"] = "tpe"
    second["config"] |= {"precision": "float32", "fix": ["gate=OR"], "sampler": "random", "max_concurrent": 2}
    assert by_name(first, second) == {
        "flags --sampler": ("tpe", "random"),
        "flags --fix": ("none", "gate=OR"),
        "flags --max-concurrent": ("default (all slots)", "2"),
    }


def test_code_includes_that_of_the_runs_that_resumed_a_study(study_content: Content):
    first, second = study_content("a"), study_content("b")
    second["resumed"] = [{"created": "2026", "git_commit": f"{'cd' * 20}+changes", "torch": "2.16.0"}]
    second["provenance"]["timm"] = "1.0"
    assert by_name(first, second) == {
        "code git_commit": ("abababababab", "abababababab, then cdcdcdcdcdcd+changes"),
        "code torch": ("2.15.0", "2.15.0, then 2.16.0"),
        "code timm": ("not used", "1.0"),
    }


def test_a_dataset_that_a_study_lacks_has_no_value(study_content: Content):
    contents = [study_content("a"), study_content("b", ("cub",)), study_content("c", max_epochs=20)]
    found = by_name(*contents)
    assert found["flags demo: --max-epochs"] == ("9", "", "20")
    assert found["flags --dataset"] == ("demo", "cub", "demo")


def test_a_space_of_version_0_1_is_known_by_its_digest(study_content: Content):
    recorded = json.loads((RECORDED / "study.json").read_text())
    first = study_content("a")
    assert by_name(first, recorded)["space demo: digest of the space"] == ("0123456789ab", "6150829c999e")
    first["signed"]["datasets"]["demo"]["space"] = "61f727564f2b"  # the present digest of the same space
    assert "space demo: digest of the space" not in by_name(first, recorded)


def test_values_are_grouped_by_the_studies_that_have_them():
    difference = StudyDifference(topic=Topic.FLAGS, dataset="cub", what="--seed", values=("0", "1", "", "0"))
    assert difference.by_value(("a", "b", "c", "d")) == "0 (a, d); 1 (b)"
