"""Confirmation: trials that are good on val are trained again from other seeds, and judged once on fresh questions.

The value by which a trial was chosen among many is optimistic. A run of the confirmation has the trial's configuration,
another seed and as many epochs as the trial's chosen epoch, on the same schedule. It is judged after its last epoch
only, on questions that no trial was asked. Where items have classes, each run holds out other classes of train and val,
as many as val has, and trains on the rest: so a candidate is judged on several times as many classes. The candidates
have the same classes and questions, run by run. A candidate's value is the mean over the questions of its runs.

The ledger of a run is confirmation/<trial_id>-epoch<E>-seed<N>/. A trial whose chosen epoch changes has other runs.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.flat import Scalar
from pan_model.objective import Objective
from pan_model.scores import Interval
from pan_model.shapes import Float
from study.config.identity import as_begun
from study.storage.paths import DatasetPaths
from study.trials.ledger import Status, TrialLedger, TrialRecord, rank_completed, read_ledger
from study.trials.question_scores import interval_ahead, interval_of
from study.trials.selection.candidates import choose_candidates, is_one_of

NUM_SEEDS = 3
"""Number of runs that confirm a trial: the seeds that follow the trial's."""

QUESTION_SEEDS = 1_000_000
"""What is added to a trial's seed for the seed of the fresh questions."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A completed trial that is good on val, and its runs.

    Attributes:
        record: The trial.
        value: The value on val in the chosen epoch, by which the trial was selected.
        epoch: The chosen epoch.
        objective: The metric.
        is_first: Whether it is one of the first trials of the search space.
        runs: The runs that have begun, in the order of seeds, with their scores of all questions.
    """

    record: TrialRecord
    value: float
    epoch: int
    objective: Objective
    is_first: bool = False
    runs: tuple[TrialRecord, ...] = ()

    @property
    def trial_id(self) -> str:
        """The id of the trial."""
        return self.record.trial_id

    @property
    def judged(self) -> list[TrialRecord]:
        """The runs that have completed."""
        return [run for run in self.runs if run.status is Status.COMPLETED and run.best is not None]

    @property
    def judged_seeds(self) -> list[int]:
        """The seeds of the runs that have completed."""
        return [int(run.config["seed"]) for run in self.judged]

    @property
    def failed(self) -> list[TrialRecord]:
        """The runs that have failed."""
        return [run for run in self.runs if run.status is Status.FAILED]

    @property
    def num_missing(self) -> int:
        """The number of runs that have not ended."""
        return NUM_SEEDS - sum(run.status is not Status.RUNNING for run in self.runs)

    @property
    def per_seed(self) -> list[float]:
        """The value of each run that has completed."""
        return [float(np.mean(questions)) for questions in self._questions]

    @property
    def confirmed(self) -> Interval | None:
        """The mean over the fresh questions of all runs, with its 95% interval; None without a run."""
        return interval_of(np.concatenate(self._questions)) if self._questions else None

    @property
    def num_questions(self) -> int:
        """The number of fresh questions, those of all completed runs."""
        return sum(map(len, self._questions))

    @property
    def selected(self) -> Interval | None:
        """The value on val with its 95% interval over the search's questions; None if their scores are not kept."""
        best = self.record.best
        questions = best.questions.get(self.objective.name) if best is not None and best.epoch == self.epoch else None
        return interval_of(questions) if questions else None

    def ahead_of(self, other: "Candidate") -> Interval | None:
        """Return the confirmed lead over another candidate in the questions that both have; None without any.

        A lead above 0 is an improvement, whatever the mode of the metric.
        """
        if not (shared := shared_seeds([self, other])):
            return None
        lead = interval_ahead(self.questions_of(shared), other.questions_of(shared))
        return lead if self.objective.signed(1.0) > 0 else -lead

    def questions_of(self, seeds: Collection[int]) -> Float[np.ndarray, "Q"]:
        """Return the scores of the fresh questions of the completed runs from these seeds."""
        runs = zip(self.judged_seeds, self._questions, strict=True)
        return np.concatenate([np.asarray(scores, dtype=np.float64) for seed, scores in runs if seed in seeds])

    @property
    def _questions(self) -> list[list[float]]:
        return [run.best.questions[self.objective.name] for run in self.judged if run.best is not None]


def shared_seeds(candidates: Sequence[Candidate]) -> set[int]:
    """Return the seeds from which a run of each candidate has completed."""
    return set[int].intersection(*(set(candidate.judged_seeds) for candidate in candidates))


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How the winner of a dataset is chosen.

    Attributes:
        objective: The metric.
        planned: The number of trials to confirm, of `--confirm`; first trials that may be as good are added.
        candidates: The trials of `choose_candidates`, the best on val first; without a confirmation that one.
        epochs_spent: The number of epochs of all runs, those of earlier candidates included.
    """

    objective: Objective
    planned: int
    candidates: tuple[Candidate, ...]
    epochs_spent: int = 0

    @property
    def missing(self) -> int:
        """The number of runs that have not ended."""
        return sum(candidate.num_missing for candidate in self.candidates) if self.planned else 0

    @property
    def chosen(self) -> Candidate | None:
        """The candidate with the best mean over the fresh questions once all runs have ended; None if not confirmed.

        Candidates without a completed run do not count. The mean is that over the runs from seeds that all others have
        completed, since each seed holds out other classes; if there are none, that over all runs of a candidate. The
        better one on val is chosen if several are equally good.
        """
        judged = [] if self.missing else [candidate for candidate in self.candidates if candidate.judged]
        seeds = shared_seeds(judged) if judged else set[int]()

        def mean(candidate: Candidate) -> float:
            return self.objective.signed(float(candidate.questions_of(seeds or candidate.judged_seeds).mean()))

        return max(judged, key=mean, default=None)

    @property
    def best_first(self) -> Candidate | None:
        """The best first trial by the confirmation; None if the winner is not confirmed, or no first trial was."""
        firsts = [candidate for candidate in self.candidates if candidate.is_first]
        return replace(self, candidates=tuple(firsts)).chosen if self.chosen is not None else None

    @property
    def candidate(self) -> Candidate | None:
        """The winner as a candidate: the confirmed one, or else the best on val; None if no trial completed."""
        return self.chosen or next(iter(self.candidates), None)

    @property
    def winner(self) -> tuple[TrialRecord, float, int] | None:
        """The winner, its value on val at selection, and its chosen epoch; None if no trial completed."""
        winner = self.candidate
        return None if winner is None else (winner.record, winner.value, winner.epoch)

    @property
    def why_not(self) -> str:
        """Why the winner is not confirmed; empty if it is, or if there is none."""
        if not self.candidates or self.chosen is not None:
            return ""
        if not self.planned:
            return "--confirm 0"
        runs = len(self.candidates) * NUM_SEEDS
        if not self.missing:
            return f"all {runs} runs of the confirmation failed"
        return f"{runs - self.missing} of {counted(runs, 'run')} of the confirmation have ended"


def select_in_study(files: DatasetPaths, entry: Mapping[str, Any], records: Sequence[TrialRecord]) -> Selection:
    """Choose the winner of a dataset as `select_winner` does, by the dataset's entry in study.json."""
    return select_winner(
        files, Objective(**entry["objective"]), records, entry.get("confirm", 0), first_trials_in(entry)
    )


def first_trials_in(entry: Mapping[str, Any]) -> list[dict[str, Scalar]]:
    """Return the first trials of a dataset's space by its entry in study.json; none in studies of version 0.1."""
    return entry.get("space", {}).get("first_trials", [])


def select_winner(
    files: DatasetPaths,
    objective: Objective,
    records: Sequence[TrialRecord],
    confirm: int,
    first_trials: Sequence[Mapping[str, Scalar]] = (),
) -> Selection:
    """Choose the winner among the trials of a dataset, and read the confirmation of its candidates.

    Args:
        files: The dataset's files.
        objective: The metric.
        records: The dataset's trials.
        confirm: The number of trials to confirm; first trials that may be as good are added. 0 for no confirmation.
        first_trials: The parameters of the search space's first trials.

    Raises:
        UserError: If a file is damaged, or runs were asked different numbers of questions.
    """
    ranked = rank_completed(records, objective)
    best = choose_candidates(files.trials, ranked, objective, confirm, first_trials) if confirm else ranked[:1]
    runs = read_ledger(files.confirmation) if confirm and best else []
    by_id = {run.trial_id: run for run in runs}
    candidates = tuple(
        Candidate(
            record=record,
            value=value,
            epoch=epoch,
            objective=objective,
            is_first=is_one_of(record, first_trials),
            runs=tuple(
                by_id[name]
                for seed in (seeds_of(record) if by_id else ())
                if (name := run_id(record.trial_id, epoch, seed)) in by_id
            ),
        )
        for record, value, epoch in best
    )
    _check_questions(files, candidates)
    return Selection(
        objective=objective,
        planned=confirm,
        candidates=candidates,
        epochs_spent=sum(len(run.history) for run in runs),
    )


def count_most_runs(confirm: int, num_trials: int, num_first: int) -> int:
    """Return the largest number of runs that a confirmation may need.

    Args:
        confirm: The number of trials to confirm; first trials that may be as good are added. 0 for no confirmation.
        num_trials: The number of trials of the study.
        num_first: The number of first trials of the search space.
    """
    return NUM_SEEDS * min(confirm + num_first, num_trials) if confirm else 0


def seeds_of(record: TrialRecord) -> tuple[int, ...]:
    """Return the seeds of the runs that confirm a trial."""
    first = int(record.config["seed"]) + 1
    return tuple(range(first, first + NUM_SEEDS))


def run_id(trial_id: str, epoch: int, seed: int) -> str:
    """Return the id of a run, the name of its folder.

    >>> run_id("037d5dca92ec", 4, 1)
    '037d5dca92ec-epoch4-seed1'
    """
    return f"{trial_id}-epoch{epoch}-seed{seed}"


def run_config(record: TrialRecord, epoch: int, seed: int) -> dict[str, Scalar]:
    """Return the configuration of a run: the trial's up to its chosen epoch, without early stopping.

    Args:
        record: The trial.
        epoch: The trial's chosen epoch.
        seed: The seed of the run.
    """
    schedule = as_begun(record.config)["max_epochs"]
    patience = {"patience": 0} if "patience" in record.config else {}
    return {**record.config, **patience, "max_epochs": epoch, "schedule_epochs": schedule, "seed": seed}


def question_seed(record: TrialRecord) -> int:
    """Return the seed of the fresh questions, which no trial of the study was asked."""
    return QUESTION_SEEDS + int(record.config["seed"])


def _check_questions(files: DatasetPaths, candidates: Sequence[Candidate]) -> None:
    """Raise UserError if runs lack scores of the metric, or runs from the same seed different numbers of questions."""
    expected: dict[int, int] = {}
    for metric, run in ((candidate.objective.name, run) for candidate in candidates for run in candidate.judged):
        count = len(run.best.questions.get(metric, ())) if run.best else 0
        of_seed = expected.setdefault(int(run.config["seed"]), count)
        if count == 0 or count != of_seed:
            file = TrialLedger(files.confirmation / run.trial_id).best_epoch_file
            raise UserError(
                f"{file}: must hold {of_seed or 'the'} scores of {metric}, as the other runs from its seed, "
                f"got {count}; remove {file.parent} to train the run again."
            )
