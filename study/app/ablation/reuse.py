"""Trials of the study that a controlled comparison need not train again: completed ones that the same code trained.

Other code may draw other random numbers from the same seed. A row would then differ from the winner for that reason.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pan_model.objective import Objective
from study.config.identity import as_begun
from study.storage.files import exists, parse_json, read_if_exists
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialLedger, TrialRecord
from study.trials.trial import TrialSpec

Code = dict[str, str]
"""The commit of the code, and the versions of the libraries that compute."""

NAMES = ("git_commit", "pan_study", "torch", "numpy")

OTHER_CODE = (
    "the trial of the study is trained again: other code trained it, or code with changes, and a row might differ from "
    "it for that reason"
)


def code_of(provenance: Mapping[str, str]) -> Code:
    """Return the part of a provenance that may change the result of a training."""
    return {name: provenance.get(name, "unknown") for name in NAMES}


def is_same_code(study: Location, best: Mapping[str, Any], trained_by: Sequence[Code]) -> bool:
    """Return whether the code that trained the study has trained, or trains, the rows.

    Args:
        study: The folder of the dataset in the study.
        best: The content of best_config.json.
        trained_by: The code of the rows.
    """
    file = StudyPaths(study.parent).study
    content = read_if_exists(file, "move it away")
    resumed = [] if content is None else parse_json(file, content, "move it away").get("resumed", [])
    codes = [code_of(run) for run in (best["provenance"], *resumed)]
    return all(code in trained_by and "+changes" not in code["git_commit"] for code in codes)


def read_completed(study: Location, spec: TrialSpec, objective: Objective) -> TrialRecord | None:
    """Return a trial of the study, if it is completed with the same configuration and has the scores of its questions.

    Args:
        study: The folder of the dataset in the study.
        spec: The trial.
        objective: The metric of the study.
    """
    folder = study / "trials" / spec.trial_id
    if not exists(folder / "config.json"):
        return None
    record = TrialLedger(folder).read()
    best = record.best_epoch(objective)
    has_scores = record.best is not None and best is not None and record.best.epoch == best["epoch"]
    is_same = record.status is Status.COMPLETED and as_begun(record.config) == as_begun(spec.config)
    return record if is_same and has_scores else None
