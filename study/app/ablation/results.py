"""Results of a controlled comparison: the content of ablation.json, with paired intervals against the winner."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import Interval
from pan_model.shapes import Float
from study.config.provenance import provenance
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
    """The content of ablation.json. `start` is what the rows are compared with: the winner, or another trial."""

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
    provenance: dict[str, Any] = Field(default_factory=dict[str, Any])

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


Records = Sequence[tuple[Location, TrialRecord | None]]
"""The trial of each seed, None if it has not begun, and its folder."""


def compare_rows(
    *,
    dataset: str,
    objective: Objective,
    seeds: Sequence[int],
    max_epochs: int,
    winner_id: str,
    start: str,
    winner: tuple[Mapping[str, Scalar], Records],
    rows: Iterable[tuple[Mapping[str, Scalar], Mapping[str, Scalar], Records]],
) -> AblationFile:
    """Compare rows with the winner, question by question.

    Args:
        dataset: The name of the dataset.
        objective: The metric.
        seeds: The seeds of the trainings.
        max_epochs: The last epoch of a trial.
        winner_id: The trial of the winner.
        start: The winner in words.
        winner: The winner's configuration, and its trial for each seed.
        rows: The changes, the configuration and the trial for each seed of every row.

    Raises:
        UserError: If the scores of questions of a trial are lost or damaged.
    """
    rows = list(rows)
    _check_questions(objective, [winner[1], *(records for *_, records in rows)])
    of_winner = _questions(objective, winner[1])
    entries: list[RowEntry] = []
    for changes, config, records in rows:
        of_row, lead, new_lead = _questions(objective, records), None, None
        if of_row is not None and of_winner is not None:
            lead = interval_ahead(of_row.mean(axis=0), of_winner.mean(axis=0))
            if len(seeds) > 1:
                new_lead = interval_ahead(of_row[1:].mean(axis=0), of_winner[1:].mean(axis=0))
        entries.append(
            RowEntry(
                changes=dict(changes),
                **_score(config, objective, seeds, records),
                **_entry("difference", lead),
                **_entry("difference_new_seeds", new_lead),
            )
        )
    return AblationFile(
        dataset=dataset,
        metric=MetricEntry(name=objective.name, mode=objective.mode),
        grid=any(len(row.changes) > 1 for row in entries),
        seeds=list(seeds),
        winner=WinnerEntry(trial_id=winner_id, **_score(winner[0], objective, seeds, winner[1])),
        rows=entries,
        start=start,
        questions=None if of_winner is None else of_winner.shape[1],
        max_epochs=max_epochs,
        cautions=_cautions(start, seeds, sum(row.lead is not None for row in entries)),
        provenance=provenance(),
    )


def _check_questions(objective: Objective, every: Iterable[Records]) -> None:
    """Raise UserError unless all completed trials have scores of the same number of questions."""
    scores: list[tuple[Location, QuestionLists]] = []
    for folder, record in (of_seed for records in every for of_seed in records):
        if record is not None and record.status is Status.COMPLETED:
            if record.best is None:
                raise UserError(f"{folder / 'best_epoch.json'}: is lost; remove {folder} to train the trial again.")
            scores.append((folder / "best_epoch.json", record.best.questions))
    check_same_questions(objective.name, scores)


def _questions(objective: Objective, records: Records) -> Float[np.ndarray, "S Q"] | None:
    """Return the scores of the questions for each seed; None unless every seed has completed."""
    lists = [questions for _, record in records if (questions := _of_seed(objective, record))]
    return np.array(lists, dtype=np.float64) if len(lists) == len(records) else None


def _of_seed(objective: Objective, record: TrialRecord | None) -> list[float] | None:
    if record is None or record.status is not Status.COMPLETED or record.best is None:
        return None
    return record.best.questions[objective.name]


def _score(
    config: Mapping[str, Scalar], objective: Objective, seeds: Sequence[int], records: Records
) -> dict[str, Any]:
    questions = _questions(objective, records)
    failed = {
        seed: record.error
        for seed, (_, record) in zip(seeds, records, strict=True)
        if record is not None and record.status is Status.FAILED
    }
    ended = sum(record is not None and record.status is not Status.RUNNING for _, record in records)
    return {
        "status": "running" if ended < len(records) else "failed" if failed else "completed",
        "config": dict(config),
        **_entry("mean", None if questions is None else interval_of(questions.mean(axis=0)), "ci95"),
        "per_seed": [
            None if (of_seed := _of_seed(objective, record)) is None else float(np.mean(of_seed))
            for _, record in records
        ],
        "errors": [f"seed {seed}: {error}" for seed, error in failed.items()],
    }


def _entry(name: str, interval: Interval | None, ends: str = "") -> dict[str, Any]:
    if interval is None:
        return {}
    return {name: interval.mean, ends or f"{name}_ci95": (interval.low, interval.high)}


def _cautions(start: str, seeds: Sequence[int], num_compared: int) -> list[str]:
    cautions = [
        f"the other parameters were chosen together with the values of the {start}, not tuned again for each row",
        f"the {start} was chosen by its value on val with seed {seeds[0]}, which favours it with this seed; "
        + ("the differences over new seeds leave it out" if len(seeds) > 1 else "give --seeds 2 or more to see others"),
        "intervals cover the questions, not the randomness of training, other classes or other images",
    ]
    if num_compared > 1:
        cautions.append("about 1 interval in 20 excludes 0 by chance, where a row is as good as the " + start)
    return cautions
