"""study.json: the record of a study, from which its tables can be made without its data."""

from dataclasses import dataclass, field
from typing import Any

from pan_model.datasets import find_dataset
from pan_model.errors import UserError
from study.storage.files import read_json
from study.storage.location import Location

STUDY_SCHEMA = "pan-study/study/1"
FIELDS = {"name", "signature", "signed", "datasets", "provenance"}
WAY_OUT = "bring the file back from a copy, or begin a study under another --name"
DATASET_FIELDS = {"num_trials", "max_epochs", "objective", "features", "data"}


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """What study.json records of a dataset once it is prepared.

    Attributes:
        dataset: Its name.
        fingerprint: Identifies the data by content.
        features: The `features` of best_config.json.
        splits: Number of items that a search uses, by split.
        left_out: Number of items and questions left out, by reason.
        unreadable: Why each unreadable image could not be read.
        options: The reader's options that the dataset has.
    """

    dataset: str
    fingerprint: str
    features: dict[str, Any]
    splits: dict[str, int]
    left_out: dict[str, int]
    unreadable: dict[str, str]
    options: dict[str, str] = field(default_factory=dict[str, str])


def read_study(file: Location) -> dict[str, Any]:
    """Read a study.json.

    Raises:
        UserError: If it is missing, damaged or incomplete. The message names the file and the missing fields.
    """
    study = read_json(file, WAY_OUT)
    if not isinstance(study, dict) or study.get("schema") != STUDY_SCHEMA:
        raise UserError(f"{file}: schema must be {STUDY_SCHEMA}; {WAY_OUT}.")
    lacking = sorted(FIELDS - set(study))
    datasets = study.get("datasets", {})
    if not isinstance(datasets, dict) or not all(isinstance(part, dict) for part in datasets.values()):
        raise UserError(f"{file}: datasets must hold an object for each dataset; {WAY_OUT}.")
    for dataset, part in datasets.items():
        _check_known(file, dataset)
        lacking += [f"datasets.{dataset}.{field}" for field in sorted(DATASET_FIELDS - set(part))]
    if lacking:
        raise UserError(f"{file}: lacks {', '.join(lacking)}; {WAY_OUT}.")
    return study


def _check_known(file: Location, dataset: str) -> None:
    try:
        find_dataset(dataset)
    except UserError as error:
        raise UserError(f"{file}: datasets: {error}") from error
