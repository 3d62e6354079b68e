"""best_config.json: export the winner's configuration, and read it for a final training.

The contract for other programs is the JSON Schema in study/best_config.schema.json. The models here accept the same
files, which a test checks.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from pan_model.errors import UserError
from study.storage.files import parse_json, read_if_exists, write_json
from study.storage.json_models import JsonModel, JsonScalar, parse_model
from study.storage.location import Location, local_path
from study.storage.paths import DatasetPaths
from study.trials.ledger import Status, TrialRecord
from study.trials.question_scores import as_entry
from study.trials.selection.confirmation import Candidate, Selection, select_in_study

SCHEMA_FILE = Path(__file__).parents[1] / "best_config.schema.json"
BEST_CONFIG_SCHEMA = "pan-study/best-config/1"
MADE_BY = "give one that study/run.py made; study/collate.py rebuilds it"

Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Metric(JsonModel, extra="forbid"):
    """The objective's best value, and the epoch in which the trial reached it."""

    name: Name
    mode: Literal["max", "min"]
    value: float
    split: Literal["val"]
    epoch: Count


class Config(JsonModel, extra="allow"):
    """The trial's configuration: the fields that every trial has, and further scalars."""

    __pydantic_extra__: dict[str, JsonScalar] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    encoder: Literal["siamese", "proxynca", "graph"]
    supervision: Literal["unsupervised", "hybrid", "supervised"]
    gate: Literal["AND", "OR", "XOR", "XNOR", "NOR", "NAND", "AND_XOR"] | None = None
    lambda_: Annotated[float, Field(ge=0)] | None = Field(None, alias="lambda")
    num_conditions: Count
    learning_rate: Annotated[float, Field(gt=0)]
    max_epochs: Count
    seed: CountOrNone

    @model_validator(mode="after")
    def _labels_have_gate_and_lambda(self) -> "Config":
        given = {"gate", "lambda_"} & self.model_fields_set
        expected = set[str]() if self.supervision == "unsupervised" else {"gate", "lambda_"}
        if given != expected or any(getattr(self, name) is None for name in given):
            rule = "must not have gate or lambda" if not expected else "must have gate and lambda"
            raise ValueError(f"{rule} with supervision {self.supervision}")
        return self


class PreprocessingEntry(JsonModel, extra="forbid"):
    """How images become the backbone's input (`pan_model.images.preprocessing`)."""

    image_size: Count
    resize_size: Count
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    std: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    crop_mode: Literal["center", "squash", "border"]


class Features(JsonModel, extra="forbid"):
    """The features that the trial was trained on."""

    regime: Literal["frozen", "finetune"]
    backbone: Name
    weights: Name
    weights_sha256: Sha256
    image_size: Count
    backbone_training: Literal["siamese", "proxynca"] = "siamese"
    backbone_epochs: Count = 1
    pooling: Literal["avg", "max"] = "avg"
    preprocessing: PreprocessingEntry | None = None
    weights_part: Name = "all"


class StudyCounts(JsonModel, extra="forbid"):
    """The study, and its trials by status when the file was written."""

    name: Name
    signature: Sha256
    num_trials: Count
    completed: Count
    stopped: CountOrNone
    failed: CountOrNone


class Splits(JsonModel, extra="allow"):
    """Number of items by split, for the splits that the search used."""

    __pydantic_extra__: dict[str, Count] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    train: Count
    val: Count


class ReadWith(JsonModel, extra="forbid"):
    """The options with which the dataset was read."""

    task: Literal["few-shot", "retrieval"] = "few-shot"
    polyvore_split: Literal["nondisjoint", "disjoint"] = "nondisjoint"
    attribute_words: Name = "mined"
    val_questions: Literal["full", "reduced"] = "full"


class Data(JsonModel, extra="forbid"):
    """The dataset's fingerprint, splits and options."""

    fingerprint: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
    splits: Splits
    options: ReadWith = ReadWith()


class Provenance(JsonModel, extra="allow"):
    """The time of the study's start, and the versions of code and libraries."""

    __pydantic_extra__: dict[str, str] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    created: str
    git_commit: str
    python: str
    torch: str
    ray: str
    optuna: str


class CandidateEntry(JsonModel, extra="forbid"):
    """A trial that was confirmed: its value on val at selection, and its runs. Without a completed run, no value."""

    trial_id: Name
    val: float
    epoch: Count
    value: float | None = None
    ci95: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    seeds: list[CountOrNone]
    per_seed: list[float]
    failed: CountOrNone
    first_trial: bool = False


class ConfirmationEntry(JsonModel, extra="forbid"):
    """The confirmation of the best trials from other seeds, on fresh questions. The winner's id is `chosen`."""

    candidates: Annotated[list[CandidateEntry], Field(min_length=1)]
    value: float
    ci95: Annotated[list[float], Field(min_length=2, max_length=2)]
    seeds: Annotated[list[CountOrNone], Field(min_length=1)]
    questions: Count
    chosen: Name


class BestConfigFile(JsonModel, extra="forbid"):
    """The content of best_config.json."""

    model_config = ConfigDict(protected_namespaces=())

    schema_: Literal["pan-study/best-config/1"] = Field(alias="schema")
    dataset: Name
    metric: Metric
    config: Config
    features: Features
    trial_id: Name
    study: StudyCounts
    data: Data
    provenance: Provenance
    confirmation: ConfirmationEntry | None = None


def export_best_config(results: DatasetPaths, study: dict[str, Any], records: list[TrialRecord]) -> bool:
    """Write best_config.json for a dataset of a study.

    Args:
        results: The dataset's files.
        study: The content of study.json.
        records: The dataset's trials.

    Returns:
        Whether a trial has completed; otherwise no file is written.
    """
    of_dataset = study["datasets"][results.dataset]
    objective = of_dataset["objective"]
    selection = select_in_study(results, of_dataset, records)
    if selection.winner is None:
        return False
    record, value, epoch = selection.winner
    data = of_dataset["data"]
    content = {
        "schema": BEST_CONFIG_SCHEMA,
        "dataset": results.dataset,
        "metric": {**objective, "value": value, "split": "val", "epoch": epoch},
        "config": record.config,
        "features": of_dataset["features"],
        "trial_id": record.trial_id,
        "study": {
            "name": study["name"],
            "signature": study["signature"],
            "num_trials": len(records),
            **{
                status.value: sum(record.status is status for record in records)
                for status in (Status.COMPLETED, Status.STOPPED, Status.FAILED)
            },
        },
        "data": {key: data[key] for key in ("fingerprint", "splits", "options") if key in data},
        "provenance": {**study["provenance"], **_history_of_epochs(of_dataset)},
        **_describe_confirmation(selection),
    }
    BestConfigFile.model_validate(content)
    write_json(results.best_config, content)
    return True


def _describe_confirmation(selection: Selection) -> dict[str, Any]:
    """Return the entry confirmation; nothing if the winner is not confirmed."""
    chosen = selection.chosen
    if chosen is None:
        return {}
    return {
        "confirmation": {
            "candidates": [_describe_candidate(candidate) for candidate in selection.candidates],
            **_describe_value(chosen),
            "seeds": chosen.judged_seeds,
            "questions": chosen.num_questions,
            "chosen": chosen.trial_id,
        }
    }


def _describe_candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "trial_id": candidate.trial_id,
        "val": candidate.value,
        "epoch": candidate.epoch,
        **_describe_value(candidate),
        "seeds": candidate.judged_seeds,
        "per_seed": candidate.per_seed,
        "failed": len(candidate.failed),
        "first_trial": candidate.is_first,
    }


def _describe_value(candidate: Candidate) -> dict[str, Any]:
    """Return the confirmed value with its interval; nothing if all runs of the candidate failed."""
    return {} if candidate.confirmed is None else as_entry(candidate.confirmed, "value")


def _history_of_epochs(of_dataset: dict[str, Any]) -> dict[str, str]:
    """Return the history of the study's max_epochs, such as "20, 40 since 2026-11-27T06:00:00"; empty if unchanged."""
    history: list[dict[str, Any]] = of_dataset.get("max_epochs_history", [])
    later = [f"{entry['max_epochs']} since {entry['since']}" for entry in history[1:]]
    return {"max_epochs": ", ".join([str(history[0]["max_epochs"]), *later])} if history else {}


def _find_meant(path: Location) -> Path | None:
    """Return the best_config.json that is meant by a study's folder, or by one of its files without the dataset."""
    local = local_path(path)
    if local is None or local.is_file():
        return None
    folder = local if local.is_dir() else local.parent
    return next((file for pattern in ("", "*/") for file in sorted(folder.glob(f"{pattern}best_config.json"))), None)


def read_best_config(path: Location) -> dict[str, Any]:
    """Read a best_config.json.

    Raises:
        UserError: If the file is missing, breaks a rule of the schema, or has a configuration that no trial can have.
    """
    from pan_model.config import TrialConfig  # here, because it needs torch, which collation does not

    meant = _find_meant(path)
    content = read_if_exists(path, f"give {meant}" if meant else MADE_BY)
    if content is None:
        way_out = f"give {meant}" if meant else MADE_BY
        raise UserError(f"{path}: cannot be read (No such file or directory); {way_out}.")
    parse_model(path, content, BestConfigFile, f"see {SCHEMA_FILE.name}, or {MADE_BY}")
    best = parse_json(path, content, MADE_BY)
    try:
        TrialConfig.from_flat(best["config"])
    except UserError as rule:
        raise UserError(f"{path}: config: {rule}") from rule
    return best
