"""study.json: the record of a study, from which its tables can be rebuilt without its data."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from pan_model.datasets import find_dataset
from pan_model.errors import UserError
from study.storage.json_models import JsonModel, parse_model, read_model
from study.storage.location import Location

STUDY_SCHEMA = "pan-study/study/1"
WAY_OUT = "bring the file back from a copy, or begin a study under another --name"


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """The entry of a prepared dataset in study.json.

    Attributes:
        dataset: The name of the dataset.
        fingerprint: The fingerprint of the data.
        features: The `features` of best_config.json.
        splits: Number of items that a search uses, by split.
        left_out: Number of items and questions left out, by reason.
        unreadable: Why each unreadable image could not be read.
        options: The values of the options that the dataset's reader has.
        cautions: Reasons to doubt the data.
        notes: What a user should know of how the dataset was read, one sentence each.
    """

    dataset: str
    fingerprint: str
    features: dict[str, Any]
    splits: dict[str, int]
    left_out: dict[str, int]
    unreadable: dict[str, str]
    options: dict[str, str] = field(default_factory=dict[str, str])
    cautions: list[str] = field(default_factory=list[str])
    notes: tuple[str, ...] = ()


class _Schema(JsonModel, extra="allow"):
    """The field `schema`, which is checked before the others."""

    schema_: Literal["pan-study/study/1"] = Field(alias="schema")


class ParameterRecord(JsonModel, extra="allow"):
    """A parameter of a search space: its choices, or its range and the ends that flags chose."""

    choices: list[str | float | int | bool] | None = None
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    type: Literal["float", "int"] = "float"
    chosen_ends: tuple[Literal["low", "high"], ...] = ()


class SpaceRecord(JsonModel, extra="allow"):
    """The search space of a dataset."""

    parameters: dict[str, ParameterRecord]
    first_trials: list[dict[str, Any]]


class _Dataset(JsonModel, extra="allow"):
    """The fields of a dataset's entry that are read back."""

    num_trials: int
    max_epochs: int
    objective: dict[str, str]
    features: dict[str, Any]
    data: dict[str, Any]
    space: SpaceRecord | None = None
    """Absent in studies of version 0.1."""


class StudyJson(JsonModel, extra="allow"):
    """The fields of study.json that are read back."""

    name: str
    signature: str
    signed: dict[str, Any]
    datasets: dict[str, _Dataset]
    provenance: dict[str, Any]


def read_study(file: Location) -> dict[str, Any]:
    """Return the content of a study.json.

    Raises:
        UserError: If it is missing, damaged or incomplete. The message names the file and the missing fields.
    """
    content = read_model(file, _Schema, WAY_OUT).model_dump(by_alias=True)
    study = parse_model(file, json.dumps(content).encode(), StudyJson, WAY_OUT)
    for dataset in study.datasets:
        _check_known(file, dataset)
    return content


def _check_known(file: Location, dataset: str) -> None:
    try:
        find_dataset(dataset)
    except UserError as error:
        raise UserError(f"{file}: datasets: {error}") from error
