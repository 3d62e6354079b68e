"""A study as it was read from its files: nothing is written, also while the study runs or in an object store."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pan_model.objective import Objective
from study.reporting.collation import read_begun_study, read_with_winner
from study.reporting.summary import DatasetSummary, summarise_dataset
from study.storage.driver_file import is_over, read_driver
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import Status, TrialRecord


@dataclass(frozen=True, kw_only=True)
class DatasetData:
    """One dataset of a study.

    Attributes:
        files: The dataset's files.
        entry: The dataset's entry in study.json: space, features, data, max_epochs and so on.
        objective: The metric that the trials optimise.
        records: All trials, in the order of suggestions; only the winner has scores of single questions.
        summary: The winner, the baselines, the final training and the cautions.
        signed: What determines the study's trials, as in study.json: the regime, the scheduler, the reduction factor..
    """

    files: DatasetPaths
    entry: dict[str, Any]
    objective: Objective
    records: list[TrialRecord]
    summary: DatasetSummary
    signed: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return self.files.dataset

    @property
    def max_epochs(self) -> int:
        """The number of epochs of a trial that is not stopped."""
        return self.entry["max_epochs"]

    @property
    def completed(self) -> list[TrialRecord]:
        """The completed trials: those that were neither stopped early nor failed."""
        return [record for record in self.records if record.status is Status.COMPLETED]

    def with_status(self, *statuses: Status) -> list[TrialRecord]:
        """Return the trials with one of some statuses."""
        return [record for record in self.records if record.status in statuses]

    def best_value(self, record: TrialRecord) -> float | None:
        """Return the best value of a trial so far; None before its first epoch."""
        best = record.best_epoch(self.objective)
        return None if best is None else float(best[self.objective.name])

    @cached_property
    def full_length(self) -> list[tuple[TrialRecord, float]]:
        """The completed trials with their best values."""
        return [(record, value) for record in self.completed if (value := self.best_value(record)) is not None]

    @property
    def winner(self) -> TrialRecord | None:
        """The best completed trial."""
        return self.summary.best[0] if self.summary.best else None


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """A study.

    Attributes:
        paths: The study's files.
        content: The content of study.json.
        over: Whether the study has ended: trials that are running in the ledger were then interrupted.
        datasets: The data of each dataset, in the order of study.json.
    """

    paths: StudyPaths
    content: dict[str, Any]
    over: bool
    datasets: dict[str, DatasetData]

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.content["name"]


def read_study_data(paths: StudyPaths, now_s: Callable[[], float] = time.time) -> StudyData:
    """Read a finished, interrupted or running study.

    Args:
        paths: The study's files.
        now_s: The clock, in Unix seconds.

    Raises:
        UserError: If the folder holds no study, or a file of the study is damaged.
    """
    content = read_begun_study(paths)
    return StudyData(
        paths=paths,
        content=content,
        over=is_over(read_driver(paths), now_s()),
        datasets={
            dataset: _read_dataset(paths.dataset(dataset), entry, content["signed"])
            for dataset, entry in content["datasets"].items()
        },
    )


def _read_dataset(files: DatasetPaths, entry: dict[str, Any], signed: dict[str, Any]) -> DatasetData:
    objective = Objective(**entry["objective"])
    records = read_with_winner(files, entry)
    return DatasetData(
        files=files,
        entry=entry,
        objective=objective,
        records=records,
        summary=summarise_dataset(files, entry, records),
        signed=signed,
    )
