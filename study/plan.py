"""Plan: may this study start, and is it the one that was begun under its name?"""

import json
import os
from pathlib import Path
from typing import Any

from pan_model.data.registry import find_dataset
from pan_model.errors import BadInput
from study.config import StudyConfig
from study.files import read_json
from study.identity import digest
from study.prepare import PreparedDataset
from study.provenance import provenance

STUDY_SCHEMA = "pan-study/study/1"


def find_study(config: StudyConfig) -> dict[str, Any] | None:
    """The study.json of an earlier run under this name, None for a new study.

    Raises BadInput when there is one and it is not to be gone on with, or when something else is in its place.
    """
    root, file = config.results.root, config.results.study
    if file.exists():
        if not config.resume:
            raise BadInput(f"{root}: this study exists; go on with it by --resume, or give another --name or --output.")
        return _read_study(file)
    unfinished = f".{file.name}."  # what a run leaves that was killed while it wrote the first file
    if root.exists() and not (root.is_dir() and all(path.name.startswith(unfinished) for path in root.iterdir())):
        raise BadInput(f"{root}: is in the way and is no study; move it, or give another --name or --output.")
    existing = next(parent for parent in (root, *root.absolute().parents) if parent.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        raise BadInput(f"{root}: cannot be made in {existing}, which cannot be written; give another --output.")
    return None


def same_weights(found: dict[str, Any], config: StudyConfig) -> bool:
    """Whether the weights have the names they had; where not, only their content tells if they are the same."""
    return all(plan.features.weights == found["datasets"][plan.dataset]["features"]["weights"] for plan in config.plans)


def check_same(found: dict[str, Any], signed: dict[str, Any], root: Path) -> None:
    """Compare what both sides have signed; BadInput shows each difference."""
    was, now = _leaves(found["signed"]), _leaves(signed)
    differences = [
        f"{key} was {was.get(key, 'absent')}, now {now[key]}" for key in now if key in was and was[key] != now[key]
    ]
    differences += [f"{key} was {was[key]}, now absent" for key in was if key not in now]
    differences += [f"{key} was absent, now {now[key]}" for key in now if key not in was]
    if differences:
        raise BadInput(f"{root}: is another study ({'; '.join(differences)}); give the same flags, or another --name.")


def check_same_flags(found: dict[str, Any], config: StudyConfig) -> None:
    """Compare what the flags alone can tell, before any work is done."""
    signed = config.signed()
    known = {key: found["signed"].get(key) for key in signed if key != "datasets"}
    datasets = {
        name: {key: part.get(key) for key in signed["datasets"].get(name, part)}
        for name, part in found["signed"]["datasets"].items()
    }
    check_same({"signed": {**known, "datasets": datasets}}, signed, config.results.root)


def sign(config: StudyConfig, prepared: list[PreparedDataset]) -> dict[str, Any]:
    """Everything that must be the same for a study to be gone on with."""
    signed = config.signed()
    for dataset in prepared:
        signed["datasets"][dataset.dataset] |= {
            "fingerprint": dataset.fingerprint,
            "weights_sha256": dataset.features["weights_sha256"],
        }
    return signed


def describe_study(
    config: StudyConfig, prepared: list[PreparedDataset], baselines: dict[str, dict[str, dict[str, float]]]
) -> dict[str, Any]:
    """The content of study.json."""
    signed = sign(config, prepared)
    by_name = {dataset.dataset: dataset for dataset in prepared}
    return {
        "schema": STUDY_SCHEMA,
        "name": config.study_name,
        "signature": digest(signed),
        "signed": signed,
        "data_root": str(config.data_root),
        "time_budget_s": config.time_budget_s,
        "datasets": {
            plan.dataset: {
                "num_trials": plan.num_trials,
                "max_epochs": plan.max_epochs,
                "grace_epochs": plan.grace_epochs,
                "objective": {
                    "name": find_dataset(plan.dataset).task.objective,
                    "mode": find_dataset(plan.dataset).task.mode,
                },
                "features": by_name[plan.dataset].features,
                "data": {
                    "fingerprint": by_name[plan.dataset].fingerprint,
                    "splits": by_name[plan.dataset].split_sizes,
                    "left_out": by_name[plan.dataset].left_out,
                    "unreadable": by_name[plan.dataset].unreadable,
                },
                "baselines": baselines[plan.dataset],
            }
            for plan in config.plans
        },
        "provenance": provenance(),
    }


def _read_study(file: Path) -> dict[str, Any]:
    study = read_json(file)
    if not isinstance(study, dict) or study.get("schema") != STUDY_SCHEMA or not {"signed", "datasets"} <= set(study):
        raise BadInput(f"{file}: must have schema {STUDY_SCHEMA}, signed and datasets; it is no study to go on with.")
    return study


def _leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, str]:
    leaves: dict[str, str] = {}
    for key, value in tree.items():
        leaves |= (
            _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": json.dumps(value)}
        )
    return leaves
