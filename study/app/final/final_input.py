"""What all jobs of a final training share."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.scoring.baselines.choice import names_of
from pan_model.tasks.task import Task
from study.config.final_config import FinalConfig
from study.trials.preparation import PreparedDataset

TRAIN_ON = (Split.TRAIN, Split.VAL)


@dataclass(frozen=True, kw_only=True)
class FinalInput:
    """What all jobs of a final training share.

    Attributes:
        best: The content of best_config.json.
        prepared: The dataset with its features.
        config: The flags.
    """

    best: dict[str, Any]
    prepared: PreparedDataset
    config: FinalConfig

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tasks out: each process makes its own, since arrays that processes share are read-only."""
        return {"best": self.best, "prepared": self.prepared, "config": self.config}

    @cached_property
    def trial(self) -> TrialConfig:
        """The configuration to train."""
        return TrialConfig.from_flat(self.best["config"])

    @property
    def seed(self) -> int:
        """The seed of the study, from which questions are drawn."""
        return self.trial.train.seed

    @cached_property
    def task(self) -> Task:
        """The task, with training on train + val; all jobs of a process share its questions."""
        return self.prepared.row.make_task(self.prepared.featured, seed=self.seed, train_on=TRAIN_ON)

    @cached_property
    def choosing_task(self) -> Task:
        """The task, with training on train, on which settings of baselines are chosen by val."""
        return self.prepared.row.make_task(self.prepared.featured, seed=self.seed)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The baselines to compare with, in the order of tables.

        Raises:
            UserError: If --baselines names one that the dataset does not have.
        """
        return self.config.baselines_of(self.prepared.dataset, names_of(self.task))
