"""Results of a controlled comparison: the content of ablation.json, with paired intervals against the winner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import Interval
from pan_model.shapes import Float
from study.app.ablation.reuse import Code
from study.reporting.comparison import check_same_questions
from study.storage.files import read_if_exists
from study.storage.json_models import JsonModel, JsonScalar, parse_model
from study.storage.location import Location
from study.storage.paths import AblationPaths
from study.trials.ledger import Status, TrialRecord
from study.trials.question_scores import QuestionLists, interval_ahead, interval_of

SCHEMA = "pan-study/ablation/1"
WAY_OUT = "move it away; the trials are kept, and found again by the same command"

EPOCHS = "each trial counts with its epoch that is best on val, as in the study"
Ends = tuple[float, float]


class MetricEntry(JsonModel):
    """The metric that rows are compared by."""

    name: str
    mode: Literal["max", "min"]
    split: Literal["val"] = "val"


class Scores(JsonModel):
    """The values of a configuration: the mean over the questions, each averaged over the seeds, and that of each seed.

    The mean is None until every seed has completed.
    """

    status: Literal["completed", "failed", "running"]
    config: dict[str, JsonScalar]
    mean: float | None = None
    ci95: Ends | None = None
    per_seed: list[float | None]
    errors: list[str] = Field(default_factory=list[str])

    @property
    def interval(self) -> Interval | None:
        """The mean with its interval."""
        return None if self.mean is None or self.ci95 is None else Interval(self.mean, *self.ci95)


class WinnerEntry(Scores):
    """The winner of the study."""

    trial_id: str


class RowEntry(Scores):
    """A variation of the winner, and its difference from the winner over the same questions.

    `difference_new_seeds` is without the seed of the study, with which the winner was chosen; None with one seed.
    """

    changes: Annotated[dict[str, JsonScalar], Field(min_length=1)]
    difference: float | None = None
    difference_ci95: Ends | None = None
    difference_new_seeds: float | None = None
    difference_new_seeds_ci95: Ends | None = None

    @property
    def lead(self) -> Interval | None:
        """The row's value minus that of the winner."""
        ends = self.difference_ci95
        return None if self.difference is None or ends is None else Interval(self.difference, *ends)

    @property
    def lead_new_seeds(self) -> Interval | None:
        """The row's value minus that of the winner, without the seed of the study."""
        ends = self.difference_new_seeds_ci95
        return None if self.difference_new_seeds is None or ends is None else Interval(self.difference_new_seeds, *ends)


class AblationFile(JsonModel):
    """The content of ablation.json.

    `start` is what the rows are compared with: the winner, or another trial. `trained_by` has the code and the
    libraries that trained rows.
    """

    schema_: Literal["pan-study/ablation/1"] = Field(default=SCHEMA, alias="schema")
    dataset: str
    metric: MetricEntry
    grid: bool
    seeds: Annotated[list[int], Field(min_length=1)]
    winner: WinnerEntry
    rows: list[RowEntry]
    start: str = "winner"
    questions: int | None = None
    max_epochs: int
    epochs: str = EPOCHS
    cautions: list[str] = Field(default_factory=list[str])
    trained_by: Annotated[list[Code], Field(min_length=1)]
    provenance: dict[str, str]

    @property
    def varied(self) -> list[str]:
        """The parameters that are varied."""
        return list(dict.fromkeys(name for row in self.rows for name in row.changes))


def read_ablation(paths: AblationPaths) -> AblationFile | None:
    """Read ablation.json; None if it does not exist.

    Raises:
        UserError: If the file is damaged.
    """
    content = read_if_exists(paths.ablation, WAY_OUT)
    return None if content is None else parse_model(paths.ablation, content, AblationFile, WAY_OUT)


@dataclass(frozen=True, kw_only=True)
class RowTrials:
    """A row with its trial for each seed: its folder, and its record or None if it has not begun."""

    changes: Mapping[str, Scalar]
    config: Mapping[str, Scalar]
    trials: Sequence[tuple[Location, TrialRecord | None]]

    @property
    def statuses(self) -> list[Status]:
        """The status of each trial; one that has not begun counts as running."""
        return [Status.RUNNING if record is None else record.status for _, record in self.trials]

    @property
    def errors(self) -> list[str]:
        """The error of each trial; empty if it has none."""
        return [record.error if record and record.status is Status.FAILED else "" for _, record in self.trials]

    def of_seeds(self, objective: Objective) -> list[list[float] | None]:
        """Return the scores of the questions for each seed; None if its trial has not completed."""
        return [
            record.best.questions[objective.name]
            if record is not None and record.status is Status.COMPLETED and record.best is not None
            else None
            for _, record in self.trials
        ]

    def scores(self, objective: Objective) -> Float[np.ndarray, "S Q"] | None:
        """Return the scores of the questions for all seeds; None unless every seed has completed."""
        lists = [questions for questions in self.of_seeds(objective) if questions is not None]
        return np.array(lists, dtype=np.float64) if len(lists) == len(self.trials) else None

    def num_questions(self, objective: Objective) -> int | None:
        """Return the number of questions; None if it is not known yet."""
        return next((len(questions) for questions in self.of_seeds(objective) if questions is not None), None)


def compare_rows(
    objective: Objective, seeds: Sequence[int], start: RowTrials, rows: Sequence[RowTrials]
) -> tuple[Scores, list[RowEntry]]:
    """Compare rows with the one that they start from, question by question.

    Args:
        objective: The metric.
        seeds: The seeds of the trainings.
        start: The row without changes.
        rows: The other rows.

    Raises:
        UserError: If the scores of questions of a trial are lost or damaged.
    """
    _check_questions(objective, [start, *rows])
    of_start = start.scores(objective)
    entries: list[RowEntry] = []
    for row in rows:
        of_row, lead, new_lead = row.scores(objective), None, None
        if of_row is not None and of_start is not None:
            lead = interval_ahead(of_row.mean(axis=0), of_start.mean(axis=0))
            if len(seeds) > 1:
                new_lead = interval_ahead(of_row[1:].mean(axis=0), of_start[1:].mean(axis=0))
        entries.append(
            RowEntry(
                changes=dict(row.changes),
                **_score(row, objective, seeds),
                **_entry("difference", lead),
                **_entry("difference_new_seeds", new_lead),
            )
        )
    return Scores(**_score(start, objective, seeds)), entries


def _check_questions(objective: Objective, rows: Sequence[RowTrials]) -> None:
    """Raise UserError unless all completed trials have scores of the same number of questions."""
    scores: list[tuple[Location, QuestionLists]] = []
    for folder, record in (trial for row in rows for trial in row.trials):
        if record is not None and record.status is Status.COMPLETED:
            if record.best is None:
                raise UserError(f"{folder / 'best_epoch.json'}: is lost; remove {folder} to train the trial again.")
            scores.append((folder / "best_epoch.json", record.best.questions))
    check_same_questions(objective.name, scores)


def _score(row: RowTrials, objective: Objective, seeds: Sequence[int]) -> dict[str, Any]:
    scores, statuses = row.scores(objective), row.statuses
    return {
        "status": ("running" if Status.RUNNING in statuses else "failed" if Status.FAILED in statuses else "completed"),
        "config": dict(row.config),
        **_entry("mean", None if scores is None else interval_of(scores.mean(axis=0)), "ci95"),
        "per_seed": [None if questions is None else float(np.mean(questions)) for questions in row.of_seeds(objective)],
        "errors": [f"seed {seed}: {error}" for seed, error in zip(seeds, row.errors, strict=True) if error],
    }


def _entry(name: str, interval: Interval | None, ends: str = "") -> dict[str, Any]:
    if interval is None:
        return {}
    return {name: interval.mean, ends or f"{name}_ci95": (interval.low, interval.high)}


def find_cautions(start: str, seeds: Sequence[int], num_rows: int, num_codes: int) -> list[str]:
    """Return reasons to doubt the differences.

    Args:
        start: What the rows are compared with.
        seeds: The seeds of the trainings.
        num_rows: The number of rows.
        num_codes: The number of versions of the code that have trained rows.
    """
    cautions = [
        f"the other parameters were chosen together with the values of the {start}, not tuned again for each row",
        f"the {start} was chosen by its value on val with seed {seeds[0]}, which favours it with this seed; "
        + ("the differences over new seeds leave it out" if len(seeds) > 1 else "give --seeds 2 or more to see others"),
        "intervals cover the questions, not the randomness of training, other classes or other images",
    ]
    if num_rows > 1:
        cautions.append("about 1 interval in 20 excludes 0 by chance, where a row is as good as the " + start)
    if num_codes > 1:
        cautions.append(
            f"{num_codes} versions of the code or of its libraries have trained the rows, which may differ for that "
            "reason; remove trials/ to train all again"
        )
    return cautions
