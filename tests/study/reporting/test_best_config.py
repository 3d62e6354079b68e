"""best_config.json: what is written, and what is refused when it is read."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from pan_model.errors import UserError
from study.config.provenance import provenance
from study.reporting.best_config import SCHEMA_FILE, BestConfigFile, export_best_config, read_best_config
from study.storage.files import write_json
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import Status, TrialRecord

METRIC = "few_shot_accuracy"
FEATURES = {
    "regime": "frozen",
    "backbone": "resnet18",
    "weights": "random",
    "weights_sha256": "ab" * 32,
    "image_size": 64,
}
STUDY: dict[str, Any] = {
    "name": "mine",
    "signature": "cd" * 32,
    "provenance": provenance(),
    "datasets": {
        "demo": {
            "objective": {"name": METRIC, "mode": "max"},
            "features": FEATURES,
            "data": {
                "fingerprint": f"sha256:{'ef' * 32}",
                "splits": {"train": 480, "val": 240},
                "left_out": {"unreadable image": 3},
                "unreadable": {"a.png": "cut short"},
            },
        }
    },
}
FIELDS = {
    (): ("schema", "dataset", "metric", "config", "features", "trial_id", "study", "data", "provenance"),
    ("metric",): ("name", "mode", "value", "split", "epoch"),
    ("config",): ("encoder", "supervision", "num_conditions", "learning_rate", "max_epochs", "seed"),
    ("features",): ("regime", "backbone", "weights", "weights_sha256", "image_size"),
    ("study",): ("name", "signature", "num_trials", "completed", "stopped", "failed"),
    ("data",): ("fingerprint", "splits"),
    ("data", "splits"): ("train", "val"),
    ("provenance",): ("created", "git_commit", "python", "torch", "ray", "optuna"),
}
PATHS = [(*parent, name) for parent, names in FIELDS.items() for name in names]
Make = Callable[..., TrialRecord]


@pytest.fixture
def files(tmp_path: Path) -> DatasetPaths:
    return StudyPaths(tmp_path / "mine").dataset("demo")


@pytest.fixture(scope="module")
def records(record: Make) -> list[TrialRecord]:
    return [
        record(0, Status.COMPLETED, 0.5),
        record(1, Status.COMPLETED, 0.1 + 0.2, 2 / 3, 0.25),
        record(2, Status.STOPPED, 0.9),
        record(3, Status.FAILED, error="it broke"),
        record(4, Status.STOPPED, 0.1),
    ]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, records: list[TrialRecord]) -> DatasetPaths:
    """Where a study's best configuration has been written."""
    files = StudyPaths(tmp_path_factory.mktemp("exported")).dataset("demo")
    assert export_best_config(files, STUDY, records)
    return files


@pytest.fixture
def best(exported: DatasetPaths) -> dict[str, Any]:
    """What was written, to be broken."""
    return json.loads(exported.best_config.read_text(encoding="utf-8"))


def parent_of(content: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        content = content[key]
    return content


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def test_fields_are_those_of_the_contract(best: dict[str, Any], records: list[TrialRecord]):
    assert tuple(best) == FIELDS[()]
    for path, names in FIELDS.items():
        if path and path[0] not in {"config", "provenance"}:
            assert set(parent_of(best, (*path, ""))) == set(names)
    assert set(FIELDS["provenance",]) <= set(best["provenance"])
    del best["provenance"]
    assert best == {
        "schema": "pan-study/best-config/1",
        "dataset": "demo",
        "metric": {"name": METRIC, "mode": "max", "value": 2 / 3, "split": "val", "epoch": 2},
        "config": records[1].config,
        "features": FEATURES,
        "trial_id": "trial1",
        "study": {
            "name": "mine",
            "signature": "cd" * 32,
            "num_trials": 5,
            "completed": 2,
            "stopped": 2,
            "failed": 1,
        },
        "data": {"fingerprint": f"sha256:{'ef' * 32}", "splits": {"train": 480, "val": 240}},
    }


def test_it_validates_and_reads_back(exported: DatasetPaths, best: dict[str, Any]):
    Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))).validate(best)
    assert read_best_config(exported.best_config) == best
    assert [entry.name for entry in exported.folder.iterdir()] == ["best_config.json"]


@pytest.fixture
def confirmed(files: DatasetPaths, records: list[TrialRecord], write_runs: Callable[..., None]) -> dict[str, Any]:
    """What is written if the two completed trials are confirmed: the better one on val has no run that completed."""
    study = deepcopy(STUDY)
    study["datasets"]["demo"]["confirm"] = 2
    write_runs(files, records[1], 2, None, None, None)
    write_runs(files, records[0], 1, [0.5, 1.0], None, [0.5, 0.5])
    assert export_best_config(files, study, records)
    return json.loads(files.best_config.read_text(encoding="utf-8"))


def test_a_confirmation_is_written_validates_and_reads_back(files: DatasetPaths, confirmed: dict[str, Any]):
    assert (confirmed["trial_id"], confirmed["metric"]["value"], confirmed["metric"]["epoch"]) == ("trial0", 0.5, 1)
    value = {"value": 0.625, "ci95": confirmed["confirmation"]["ci95"]}
    first = {
        "trial_id": "trial1",
        "val": 2 / 3,
        "epoch": 2,
        "seeds": [],
        "per_seed": [],
        "failed": 3,
        "first_trial": False,
    }
    second = {"trial_id": "trial0", "val": 0.5, "epoch": 1, "seeds": [1, 3], "per_seed": [0.75, 0.5], "failed": 1} | {
        "first_trial": False
    }
    assert confirmed["confirmation"] == value | {
        "candidates": [first, second | value],
        "seeds": [1, 3],
        "questions": 4,
        "chosen": "trial0",
    }
    Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))).validate(confirmed)
    assert read_best_config(files.best_config) == confirmed


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("seeds", [], "confirmation.seeds must "),
        ("questions", 0, "confirmation.questions must "),
        ("ci95", [0.5], "confirmation.ci95 must "),
        ("candidates", [], "confirmation.candidates must "),
        ("chosen", None, "confirmation.chosen must "),
        ("colour", 1, "confirmation.colour is an unknown field"),
    ],
)
def test_a_confirmation_that_cannot_be_is_refused_by_the_models_and_by_the_schema(
    files: DatasetPaths, confirmed: dict[str, Any], key: str, value: Any, rule: str
):
    confirmed["confirmation"][key] = value
    assert refused(files, confirmed).startswith(rule)
    assert not Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))).is_valid(confirmed)


@pytest.mark.parametrize("value", [0.1 + 0.2, 1 / 3, 1e-300, 0.30000000000000004, 1.0])
def test_numbers_read_back_exactly(files: DatasetPaths, record: Make, value: float):
    one = record(0, Status.COMPLETED, value)
    one = record(0, Status.COMPLETED, value, config=one.config | {"learning_rate": value})
    export_best_config(files, STUDY, [one])
    content = read_best_config(files.best_config)
    assert repr(content["metric"]["value"]) == repr(content["config"]["learning_rate"]) == repr(value)


@pytest.mark.parametrize("number", range(6))
def test_every_suggestion_of_the_space_can_be_exported(files: DatasetPaths, record: Make, number: int):
    one = record(number, Status.COMPLETED, 0.5)
    export_best_config(files, STUDY, [one])
    assert read_best_config(files.best_config)["config"] == one.config


def test_without_a_completed_trial_nothing_is_written(files: DatasetPaths, records: list[TrialRecord]):
    assert not export_best_config(files, STUDY, records[2:])
    assert not files.best_config.exists()


def test_where_less_is_better(files: DatasetPaths, records: list[TrialRecord]):
    study = deepcopy(STUDY)
    study["datasets"]["demo"]["objective"]["mode"] = "min"
    export_best_config(files, study, records)
    metric = read_best_config(files.best_config)["metric"]
    assert (metric["value"], metric["epoch"], metric["mode"]) == (0.25, 3, "min")


def refused(files: DatasetPaths, content: Any) -> str:
    """The line with which a content is refused, which names the file."""
    write_json(files.best_config, content)
    with pytest.raises(UserError, match=rf"^{re.escape(str(files.best_config))}: ") as error:
        read_best_config(files.best_config)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{files.best_config}: ")


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_a_missing_field_is_named(files: DatasetPaths, best: dict[str, Any], path: tuple[str, ...]):
    del parent_of(best, path)[path[-1]]
    assert refused(files, best).startswith(f"lacks {'.'.join(path)}; see best_config.schema.json, or give one that ")


@pytest.mark.parametrize("path", PATHS, ids=".".join)
@pytest.mark.parametrize("value", [[], None], ids=["list", "null"])
def test_a_field_of_the_wrong_type_is_named(
    files: DatasetPaths, best: dict[str, Any], path: tuple[str, ...], value: Any
):
    parent_of(best, path)[path[-1]] = value
    assert refused(files, best).startswith(f"{'.'.join(path)} must be ")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "pan-study/best-config/2"),
        ("dataset", ""),
        ("metric.mode", "more"),
        ("metric.value", "0.9"),
        ("metric.split", "test"),
        ("metric.epoch", 0),
        ("metric.epoch", 1.5),
        ("config.encoder", "transformer"),
        ("config.supervision", "none"),
        ("config.num_conditions", 0),
        ("config.learning_rate", 0),
        ("config.seed", -1),
        ("config.dropout", [0.5]),
        ("features.weights_sha256", "ab"),
        ("features.image_size", True),
        ("study.completed", 0),
        ("study.signature", "xy" * 32),
        ("data.fingerprint", "ef" * 32),
        ("data.splits.train", 0),
        ("data.options", "disjoint"),
    ],
)
def test_a_value_that_cannot_be_is_named(files: DatasetPaths, best: dict[str, Any], path: str, value: Any):
    keys = tuple(path.split("."))
    parent_of(best, keys)[keys[-1]] = value
    assert refused(files, best).startswith(f"{path} must ")


@pytest.mark.parametrize("parent", [(), ("metric",), ("features",), ("study",), ("data",)], ids=".".join)
def test_a_field_too_many_is_named(files: DatasetPaths, best: dict[str, Any], parent: tuple[str, ...]):
    parent_of(best, (*parent, ""))["colour"] = 1
    assert refused(files, best).startswith(f"{'.'.join((*parent, 'colour'))} is an unknown field; see best_config")


def test_an_unknown_key_of_the_configuration_is_named(files: DatasetPaths, best: dict[str, Any]):
    best["config"]["colour"] = "red"
    assert refused(files, best).startswith("config: unknown key 'colour' in a configuration with encoder ")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dropout", "much", "config: dropout must be of type float, got 'much'."),
        ("joint", "sum", "config: joint must be one of absdiff, product, concat, got 'sum'."),
        ("steps_per_epoch", 1.5, "config: steps_per_epoch must be of type int, got 1.5."),
    ],
)
def test_a_rule_of_the_configuration_is_told(
    files: DatasetPaths, best: dict[str, Any], key: str, value: Any, message: str
):
    best["config"][key] = value
    assert refused(files, best) == message


def test_labels_come_with_a_gate_and_a_lambda(files: DatasetPaths, best: dict[str, Any]):
    best["config"] |= {"supervision": "hybrid", "gate": "OR", "lambda": 0.5}
    for key in ("gate", "lambda"):
        lacking = deepcopy(best)
        del lacking["config"][key]
        assert refused(files, lacking).startswith("config must have gate and lambda with supervision hybrid")
    best["config"]["supervision"] = "unsupervised"
    assert refused(files, best).startswith("config must not have gate or lambda with supervision unsupervised")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"polyvore_split": "both"}, "data.options.polyvore_split must be 'nondisjoint' or 'disjoint', got \"both\""),
        ({"colour": "red"}, "data.options.colour is an unknown field"),
    ],
)
def test_options_that_cannot_be_are_named(
    files: DatasetPaths, best: dict[str, Any], options: dict[str, str], line: str
):
    best["data"]["options"] = options
    assert refused(files, best).startswith(line)


@pytest.mark.parametrize("options", [{}, {"polyvore_split": "disjoint", "attribute_words": "/w.txt"}])
def test_how_the_data_were_read_goes_with_them(files: DatasetPaths, best: dict[str, Any], options: dict[str, str]):
    best["data"]["options"] = options
    write_json(files.best_config, best)
    assert read_best_config(files.best_config)["data"]["options"] == options


def test_options_of_a_study_are_exported(files: DatasetPaths, records: list[TrialRecord]):
    study = deepcopy(STUDY)
    study["datasets"]["demo"]["data"]["options"] = {"polyvore_split": "nondisjoint"}
    export_best_config(files, study, records)
    assert read_best_config(files.best_config)["data"]["options"] == {"polyvore_split": "nondisjoint"}


@pytest.mark.parametrize("content", [[], 3, "best", None])
def test_json_that_is_no_object_is_refused(files: DatasetPaths, content: Any):
    assert refused(files, content).startswith("the whole file must be an object")


def test_an_empty_object_lacks_every_field(files: DatasetPaths):
    assert refused(files, {}).startswith(f"lacks {', '.join(FIELDS[()])}; see ")


OTHER_VALUES: list[Any] = [
    *(None, True, 0, -1, 1, 0.5, -0.5, "", "text", "ab" * 32, f"sha256:{'ef' * 32}", [], [1], {}),
    *("max", "min", "val", "test", "hybrid", "unsupervised", "XNOR", "graph", "finetune", "disjoint", "avg"),
]


def objects_of(content: Any) -> list[dict[str, Any]]:
    """The object itself and all objects in it."""
    return [content, *(inner for value in content.values() if isinstance(value, dict) for inner in objects_of(value))]


def test_the_models_accept_what_the_schema_accepts(best: dict[str, Any]):
    schema = Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    labels = {"supervision": "hybrid", "gate": "OR", "lambda": 0.5}
    best["features"] |= {"backbone_training": "siamese", "backbone_epochs": 3, "pooling": "max"}
    best["data"]["options"] = {"polyvore_split": "disjoint", "attribute_words": "/w.txt"}
    config = {key: value for key, value in best["config"].items() if key not in labels}
    accepted = 0
    for start in (best | {"config": config | labels}, best | {"config": config | {"supervision": "unsupervised"}}):
        for index, each in enumerate(objects_of(start)):
            for key in [*each, "gate", "lambda", "colour"]:
                for value in ["absent", *OTHER_VALUES]:
                    content = deepcopy(start)
                    changed = objects_of(content)[index]
                    changed.pop(key, None)
                    changed |= {} if value == "absent" else {key: value}
                    fits = schema.is_valid(content)
                    accepted += fits
                    try:
                        BestConfigFile.model_validate_json(json.dumps(content))
                    except ValidationError:
                        assert not fits, (key, value)
                    else:
                        assert fits, (key, value)
    assert accepted > 100


def test_files_that_are_not_there_or_not_json(files: DatasetPaths):
    with pytest.raises(
        UserError,
        match=r"/best_config\.json: cannot be read \(No such file or directory\); give one that study/run\.py made; ",
    ):
        read_best_config(files.best_config)
    files.folder.mkdir(parents=True)
    files.best_config.write_text('{"schema": ', encoding="utf-8")
    with pytest.raises(UserError, match=r"/best_config\.json: is not JSON \(.+\); see best_config\.schema\.json"):
        read_best_config(files.best_config)


def test_the_file_that_is_meant_is_named(files: DatasetPaths):
    files.folder.mkdir(parents=True)
    files.best_config.write_text("{}", encoding="utf-8")
    study = files.folder.parent
    for path in (study / "best_config.json", study, files.folder):
        with pytest.raises(UserError, match=rf"^{path}: cannot be read \(.+\); give {files.best_config}\.$"):
            read_best_config(path)
