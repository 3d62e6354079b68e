"""The search of a study on one dataset: space, objective, limits and files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pan_model.data.splits import ValQuestions
from pan_model.flat import Scalar
from pan_model.model.precision import Precision
from pan_model.objective import Objective
from search_spaces import SearchSpace
from study.config.identity import has_params, trial_id
from study.storage.paths import DatasetPaths
from study.trials.ledger import TrialLedger, TrialRecord
from study.trials.more_epochs import read_for_search
from study.trials.trial import TrialSpec


@dataclass(frozen=True, kw_only=True)
class DatasetSearch:
    """The search on one dataset.

    Attributes:
        paths: The dataset's files.
        objective: The metric that trials are compared by, and its direction.
        space: The search space.
        num_trials: The number of trials to end, including those of earlier runs.
        max_epochs: The last epoch of a trial.
        grace_epochs: The epoch of the first rung: ASHA stops no trial before it.
        seed: The seed of every trial.
        fingerprint: The fingerprint of the dataset's items.
        features: The description of the features, as in best_config.json.
        first_trials: Parameters of the space's own first trials, without those that were given.
        task: The task of `--task`; None for the dataset's default.
        val_questions: Which questions are asked on val; full also if the dataset has no choice.
        precision: The precision of every trial's products over pairs.
        given: The trials to run, and no others; if empty, the space suggests them.
    """

    paths: DatasetPaths
    objective: Objective
    space: SearchSpace
    num_trials: int
    max_epochs: int
    grace_epochs: int
    seed: int
    fingerprint: str
    features: Mapping[str, Any]
    first_trials: tuple[Mapping[str, Scalar], ...] = ()
    task: str | None = None
    val_questions: ValQuestions = ValQuestions.FULL
    precision: Precision = Precision.FLOAT32
    given: tuple[TrialSpec, ...] = ()

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return self.paths.dataset

    def complete(self, suggested: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """Return the configuration of a new trial: the suggested values, max_epochs, the seed, and bfloat16."""
        values = {key: value for key, value in suggested.items() if key != "schedule_epochs"}
        precision = {} if self.precision is Precision.FLOAT32 else {"precision": str(self.precision)}
        return {**values, "max_epochs": self.max_epochs, "seed": self.seed, **precision}

    def identify(self, config: Mapping[str, Scalar]) -> str:
        """Return the id of the trial with a complete configuration."""
        return trial_id(self.fingerprint, self.features, config, task=self.task, val_questions=self.val_questions)

    def identify_as_new(self, config: Mapping[str, Scalar]) -> str:
        """Return the id that a configuration has in a trial that starts now.

        Trials that differ only in the epochs that they were begun with have the same.
        """
        return self.identify(self.complete(config))

    def records(self) -> list[TrialRecord]:
        """Read the trials as this search sees them: completed ones that get more epochs are running."""
        return read_for_search(self.paths.trials, self.objective, self.max_epochs)

    def may_stop(self, config: Mapping[str, Scalar]) -> bool:
        """Return whether a trial may be stopped early.

        First trials are what the others must beat, and the paper's setting is a baseline: all their epochs count.
        """
        kept = (*self.first_trials, self.space.paper_setting)
        return not any(params and has_params(config, params) for params in kept)

    def ledger(self, trial_id: str) -> TrialLedger:
        """Return the ledger of one trial."""
        return TrialLedger(self.paths.trials / trial_id)
