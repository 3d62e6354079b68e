"""Export: best_config.json, checked against its schema on the way out and on the way in."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from pan_model.errors import UserError
from pan_model.objective import Objective
from study.storage.files import read_json, write_json
from study.storage.location import Location
from study.storage.paths import DatasetPaths
from study.trials.ledger import Status, TrialRecord, best_completed

SCHEMA_FILE = Path(__file__).parents[1] / "best_config.schema.json"
BEST_CONFIG_SCHEMA = "pan-study/best-config/1"
MADE_BY = "give one that study/run.py made; study/collate.py makes a study's anew"


def export_best_config(results: DatasetPaths, study: dict[str, Any], records: list[TrialRecord]) -> bool:
    """Write best_config.json for a dataset of a study; False, and no file, when no trial completed."""
    part = study["datasets"][results.dataset]
    objective = part["objective"]
    best = best_completed(records, Objective(**objective))
    if best is None:
        return False
    record, value, epoch = best
    content = {
        "schema": BEST_CONFIG_SCHEMA,
        "dataset": results.dataset,
        "metric": {**objective, "value": value, "split": "val", "epoch": epoch},
        "config": record.config,
        "features": part["features"],
        "trial_id": record.trial_id,
        "study": {
            "name": study["name"],
            "signature": study["signature"],
            "num_trials": len(records),
            **{
                status.value: sum(one.status is status for one in records)
                for status in (Status.COMPLETED, Status.STOPPED, Status.FAILED)
            },
        },
        "data": {key: part["data"][key] for key in ("fingerprint", "splits", "options") if key in part["data"]},
        "provenance": study["provenance"],
    }
    _validator().validate(content)
    write_json(results.best_config, content)
    return True


def read_best_config(path: Location) -> dict[str, Any]:
    """Read a best_config.json; UserError names the file and the field that is not as the schema says."""
    from pan_model.config import TrialConfig  # here, because it needs torch, which collation does not

    content = read_json(path, MADE_BY)
    error = next(iter(_validator().iter_errors(content)), None)
    if error is not None:
        field = ".".join(str(part) for part in error.absolute_path) or "the whole file"
        raise UserError(f"{path}: {field}: {error.message}; see {SCHEMA_FILE.name}, or {MADE_BY}.")
    try:
        TrialConfig.from_flat(content["config"])
    except UserError as rule:
        raise UserError(f"{path}: config: {rule}") from rule
    return content


def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
