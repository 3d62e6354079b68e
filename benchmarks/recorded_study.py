"""Finished studies whose trials all ran to their own end, as benchmarks replay them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from study.storage.files import read_json
from study.storage.paths import StudyPaths
from study.trials.ledger import Status, TrialLedger, TrialRecord, read_ledger
from study.trials.selection.candidates import is_one_of


@dataclass(frozen=True, kw_only=True)
class RecordedStudy:
    """A dataset of a finished study whose trials all ran to their own end.

    Attributes:
        name: The name of the study, and its dataset.
        objective: The metric that trials are compared by.
        max_epochs: The last epoch of a trial.
        trials: The completed trials.
        scores: The score of each validation question, by trial and epoch.
        first_trials: The parameters of the search space's first trials, which no rule stops.
    """

    name: str
    objective: Objective
    max_epochs: int
    trials: Sequence[TrialRecord]
    scores: Mapping[tuple[str, int], Sequence[float]]
    first_trials: Sequence[Mapping[str, Scalar]]

    def may_stop(self, trial: TrialRecord) -> bool:
        """Return whether a rule may stop a trial."""
        return not is_one_of(trial, self.first_trials)

    def best_value(self, trial: TrialRecord) -> float:
        """Return the signed value of a trial's best epoch."""
        return max(self.values(trial))

    def values(self, trial: TrialRecord) -> list[float]:
        """Return the signed value of each epoch of a trial."""
        return [self.objective.signed(float(epoch[self.objective.name])) for epoch in trial.history]


def read_studies(folder: Path) -> list[RecordedStudy]:
    """Read the datasets of a finished study.

    Raises:
        UserError: If the study stopped trials early, or has trials without scores of questions.
    """
    paths = StudyPaths(folder)
    content = read_json(paths.study, "give the folder of a finished study")
    if (scheduler := content["config"].get("scheduler")) != "none":
        raise UserError(f"{paths.study}: must be a study with --scheduler none, got {scheduler}; run one.")
    return [_read_dataset(paths, dataset, entry) for dataset, entry in content["datasets"].items()]


def _read_dataset(paths: StudyPaths, dataset: str, entry: Mapping[str, Any]) -> RecordedStudy:
    trials = paths.dataset(dataset).trials
    completed = [record for record in read_ledger(trials, best=False) if record.status is Status.COMPLETED]
    scores: dict[tuple[str, int], list[float]] = {}
    for record in completed:
        of_trial = TrialLedger(trials / record.trial_id).question_scores()
        if missing := {int(epoch["epoch"]) for epoch in record.history} - of_trial.keys():
            lacking = f"must have the scores of questions of each epoch, lacks those of epoch {min(missing)}"
            raise UserError(f"{trials / record.trial_id}: {lacking}; run the study anew.")
        scores |= {(record.trial_id, epoch): of_epoch for epoch, of_epoch in of_trial.items()}
    if len(completed) < 2:
        raise UserError(f"{trials}: must have at least 2 completed trials, got {len(completed)}; resume the study.")
    return RecordedStudy(
        name=f"{paths.root.name}, {dataset}",
        objective=Objective(**entry["objective"]),
        max_epochs=int(entry["max_epochs"]),
        trials=completed,
        scores=scores,
        first_trials=entry["space"]["first_trials"],
    )
