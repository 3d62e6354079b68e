"""One trial: each step trains and evaluates one epoch and writes the ledger and the events. Independent of Ray."""

import math
from bdb import BdbQuit
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, ValQuestions
from pan_model.datasets import Dataset, find_dataset
from pan_model.errors import UserError, find_machine_fault
from pan_model.flat import Scalar
from pan_model.reproducibility import computing_threads, deterministic_arithmetic
from pan_model.scores import EpochRecord
from pan_model.scoring.baselines.untrained import NORMALISED, normalised_baseline
from pan_model.tasks.task import Task
from pan_model.training.finetuning import FinetuneStart
from pan_model.training.trainer import Evaluation, Trainer
from pan_model.training.trial_cache import TrialCache
from study.storage.location import Location
from study.storage.paths import StudyPaths
from study.trials.baselines import BaselineScores, own_on_val, write_scores
from study.trials.ledger import BestEpoch, Status, TrialLedger
from study.trials.question_scores import QuestionLists, as_lists
from study.trials.tensorboard_events import HparamsColumns, TrialEvents, events_folder


@dataclass(frozen=True, kw_only=True)
class FreshVal:
    """The val on which a run of the confirmation is judged; see `Task.with_fresh_val`.

    Attributes:
        part: Its number, from 0.
        keeps_classes: Whether it has the classes of the usual val.
    """

    part: int
    keeps_classes: bool = False


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """The identity and the parameters of a trial, ready to run.

    Attributes:
        trial_id: Hash of everything that changes the trial's result; the name of its folder in the ledger.
        number: The trial's place in the order of suggestions, from 0.
        dataset: The name of the dataset.
        config: The configuration as flat scalars, as the ledger holds it.
        trial_config: The same configuration as typed values.
        task: The task of `--task`; None for the dataset's default.
        val_questions: Which questions are asked on val, if the dataset has a choice.
        question_seed: The seed from which questions are drawn; None for the trial's own.
        fresh_val: The val of a run of the confirmation, which is judged after its last epoch only; None for a trial.
    """

    trial_id: str
    number: int
    dataset: str
    config: dict[str, Scalar]
    trial_config: TrialConfig
    task: str | None = None
    val_questions: ValQuestions = ValQuestions.REDUCED
    question_seed: int | None = None
    fresh_val: FreshVal | None = None

    @property
    def confirms(self) -> bool:
        """Whether this is a run of the confirmation."""
        return self.fresh_val is not None

    @property
    def row(self) -> Dataset:
        """The dataset, with the task of the trial."""
        return find_dataset(self.dataset, self.task, self.val_questions)

    @classmethod
    def from_flat(
        cls,
        *,
        trial_id: str,
        number: int,
        dataset: str,
        config: dict[str, Scalar],
        task: str | None = None,
        val_questions: ValQuestions = ValQuestions.REDUCED,
        question_seed: int | None = None,
        fresh_val: FreshVal | None = None,
    ) -> "TrialSpec":
        """Build a specification from a flat configuration.

        Raises:
            UserError: If a value of the configuration is unknown, missing or invalid.
        """
        typed = TrialConfig.from_flat(config)
        return cls(
            trial_id=trial_id,
            number=number,
            dataset=dataset,
            config=config,
            trial_config=typed,
            task=task,
            val_questions=val_questions,
            question_seed=question_seed,
            fresh_val=fresh_val,
        )


def spec_of(config: Mapping[str, Any]) -> TrialSpec:
    """Return the specification that a searcher put into a trial's configuration for Tune."""
    return config["spec"]


@dataclass(frozen=True, kw_only=True)
class TrialEnvironment:
    """The environment that all trials of a study share.

    Attributes:
        results: The paths of the results.
        num_threads: The number of CPU threads of a trial.
        device: The torch device of a trial.
        data_workers: The number of processes that load images for a trial that trains its backbone.
        columns: The columns of TensorBoard's tab "HParams".
    """

    results: StudyPaths
    num_threads: int
    device: str = "cpu"
    data_workers: int = 0
    columns: HparamsColumns = field(default_factory=HparamsColumns)


class Step(NamedTuple):
    """The result of a step.

    Attributes:
        epoch: The number of epochs so far.
        value: The value of the objective; NaN for a failed trial, and for an epoch that is not judged.
        done: Whether the trial has ended.
    """

    epoch: int
    value: float
    done: bool


class TrialRun:
    """Run a trial, one epoch a step, continuing after the last epoch of its ledger.

    A trial that has ended repeats its last step. An exception inside the trial makes it a failed trial, except for an
    OSError, or an error that a fault of the machine has caused: these are raised, and the trial is still running.

    Args:
        spec: The trial.
        environment: The paths of the results, and the threads and the device of the trial.
        featured: The items of the dataset with their features.
        start: The start of a trial that trains its backbone; None if it does not.
        cache: What trials on these items compute alike in this process; by default, nothing is kept.
    """

    def __init__(
        self,
        spec: TrialSpec,
        environment: TrialEnvironment,
        featured: FeaturedItems,
        start: FinetuneStart | None = None,
        cache: TrialCache | None = None,
    ) -> None:
        self._spec = spec
        self._cache = cache or TrialCache()
        self._environment = environment
        self._featured = featured
        self._finetune_start = None if start is None else replace(start, num_workers=environment.data_workers)
        self._task_class = spec.row.task
        self._paths = environment.results.dataset(spec.dataset)
        self._ledger = TrialLedger(self._paths.trials / spec.trial_id)
        self._ledger.open(number=spec.number, config=spec.config)
        self._trainer: Trainer | None = None
        self._best: tuple[int, float] | None = None
        self._baselines: dict[str, QuestionLists] = {}
        self._events: TrialEvents | None = None

    @property
    def folder(self) -> Location:
        """The trial's folder in the ledger."""
        return self._ledger.folder

    def step(self) -> Step:
        """Run one epoch.

        Raises:
            MachineFault: If a file cannot be read or written because of the machine.
            OSError: If a file cannot be read or written. The next step continues from the ledger.
        """
        if self._ledger.status()[0] is not Status.RUNNING:
            return self._step_of_ended()
        try:
            with computing_threads(self._environment.num_threads), deterministic_arithmetic():
                return self._run_epoch(self._trainer or self._start())
        except BdbQuit:  # leaving the debugger is not a failure of the trial
            self.close()
            raise
        except Exception as error:
            fault = find_machine_fault(error)
            if fault is None and not isinstance(error, OSError):  # a trial that raises is a failed trial
                return self._fail(f"{type(error).__name__}: {error}")
            with suppress(OSError):  # the events may be on the same disk
                self.close()  # another step starts from the ledger
            if fault is None or fault is error:
                raise
            raise fault from error

    def close(self) -> None:
        """Close the event file, with the status of a trial that has ended, and release the model."""
        events, self._trainer, self._events = self._events, None, None
        if events is not None:
            status = Status.RUNNING
            with suppress(OSError, UserError):  # a ledger that cannot be read is reported by the next step
                status = self._ledger.status()[0]
            events.close(status)

    def _start(self) -> Trainer:
        config = self._spec.trial_config
        device, row = torch.device(self._environment.device), self._spec.row
        seed = config.train.seed if self._spec.question_seed is None else self._spec.question_seed
        cache = TrialCache() if self._spec.confirms else self._cache  # a run of the confirmation has other items
        task = cache.get(("task", self._task_class, row.val_questions, seed), lambda: self._make_task(seed))
        trainer = Trainer(task, config, device, self._finetune_start, cache)
        state = self._ledger.restore()
        if state is not None:
            trainer.load_state_dict(state)
        if not self._spec.confirms:  # TensorBoard compares trials
            self._events = TrialEvents(
                events_folder(self._paths, self._spec),
                self._spec,
                task.objective,
                history=self._ledger.history() if trainer.epoch else (),
                columns=self._environment.columns,
            )
        best = self._ledger.read().best_epoch(task.objective)
        self._best = None if best is None else (int(best["epoch"]), float(best[task.objective.name]))
        if not self._spec.confirms:  # no table compares runs of the confirmation with these
            key = ("baselines", self._task_class, seed, config.normalisation)
            self._baselines = cache.get(key, lambda: _own_baselines(task, trainer))
        self._trainer = trainer
        return trainer

    def _make_task(self, seed: int) -> Task:
        """Return the task with the questions of a trial, or with those of a run of the confirmation."""
        task = self._spec.row.make_task(self._featured, seed=seed)
        fresh = self._spec.fresh_val
        return task if fresh is None else task.with_fresh_val(seed, fresh.part, keep_classes=fresh.keeps_classes)

    def _run_epoch(self, trainer: Trainer) -> Step:
        if self._is_over(trainer):
            record = self._ledger.history()[-1]
        else:
            losses, is_judged = trainer.train_epoch(), not self._spec.confirms or self._is_over(trainer)
            val = trainer.evaluate(Split.VAL) if is_judged else Evaluation({}, 0.0)
            record = losses | val.means()
            is_best = is_judged and self._is_best(float(record[trainer.task.objective.name]))
            train = trainer.evaluate(Split.TRAIN) if is_best else Evaluation({}, 0.0)  # train only shows overfitting
            record |= train.means("train/") | {"time/evaluate_s": val.time_s + train.time_s}
            if broken := [name for name, value in record.items() if not math.isfinite(value)]:
                return self._fail(f"{broken[0]} is {record[broken[0]]} in epoch {trainer.epoch}")
            best = self._take_best(record, val, trainer) if is_best else None
            scores = [float(score) for score in val.questions[trainer.task.objective.name]] if is_judged else None
            self._ledger.add_epoch(record, trainer.state_dict(), best, scores)
            if self._events is not None:
                self._events.add_epoch(record)
        done = self._is_over(trainer)
        if done:
            if not self._spec.confirms:  # no table compares runs of the confirmation with these
                write_scores(self._ledger.baselines_file, self._score_own_baselines(trainer))
            self._ledger.close(Status.COMPLETED)
        return self._step_of(record, done=done)

    def _score_own_baselines(self, trainer: Trainer) -> dict[str, BaselineScores]:
        """Score the baselines that depend on the normalisation. A stopped trial cannot win, and does not need them."""
        task = trainer.task
        key = ("own baselines", self._task_class, task.val_questions, task.seed, trainer.config.normalisation)
        return self._cache.get(key, lambda: own_on_val(task, trainer.normalised_features()))

    def _is_best(self, value: float) -> bool:
        """Return whether a value of the objective is the best so far."""
        best = self._best[1] if self._best else None
        return math.isfinite(value) and self._task_class.objective.is_better(value, than=best)

    def _take_best(self, record: EpochRecord, val: Evaluation, trainer: Trainer) -> BestEpoch:
        """Note that the epoch of a record is the best so far, and return the scores to store."""
        self._best = (trainer.epoch, float(record[trainer.task.objective.name]))
        return BestEpoch(
            epoch=trainer.epoch,
            questions=as_lists(val.questions),
            baselines=self._baselines,
            relevance=trainer.mean_relevance((Split.VAL,)),
        )

    def _is_over(self, trainer: Trainer) -> bool:
        """Return whether the last epoch is reached, or the patience is used up since the best one."""
        config = trainer.config.train
        waited = trainer.epoch - self._best[0] if self._best else 0
        return trainer.epoch >= config.max_epochs or 0 < config.patience <= waited

    def _fail(self, error: str) -> Step:
        self._ledger.close(Status.FAILED, " ".join(error.split()))
        return Step(epoch=self._trainer.epoch if self._trainer else 0, value=math.nan, done=True)

    def _step_of_ended(self) -> Step:
        record = self._ledger.read()
        if record.status is Status.FAILED or not record.history:
            return Step(epoch=len(record.history), value=math.nan, done=True)
        return self._step_of(record.history[-1], done=True)

    def _step_of(self, record: EpochRecord, *, done: bool) -> Step:
        value = float(record.get(self._task_class.objective.name, math.nan))
        return Step(epoch=int(record["epoch"]), value=value, done=done)


def _own_baselines(task: Task, trainer: Trainer) -> dict[str, QuestionLists]:
    """Return the scores of the baselines that depend on the trial: its normalisation without any trained layer."""
    scorer = normalised_baseline(task, Split.VAL, trainer.normalised_features(Split.VAL))
    return {NORMALISED: as_lists(task.evaluate(scorer, Split.VAL))}
