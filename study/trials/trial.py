"""One trial, an epoch a step: train, evaluate, write the ledger and the events. Knows nothing of who runs it."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.datasets import find_dataset
from pan_model.flat import Scalar
from pan_model.reproducibility import computing_threads, deterministic_arithmetic
from pan_model.scores import EpochRecord
from pan_model.scoring.baselines import NORMALISED, normalised_baseline
from pan_model.training.finetune_start import FinetuneStart
from pan_model.training.trainer import Evaluation, Trainer
from study.storage.location import Location
from study.storage.paths import DatasetPaths, StudyPaths
from study.trials.ledger import BestEpoch, Status, TrialLedger
from study.trials.question_scores import QuestionLists, as_lists
from study.trials.tensorboard_events import TrialEvents


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """What is to be tried, and where it is written down."""

    trial_id: str
    number: int
    config: dict[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class TrialPlace:
    """What all trials of a dataset share, beside the data: where results go, and the hardware that each has.

    data_workers processes load images for a trial that trains its backbone.
    """

    root: Location
    dataset: str
    num_threads: int
    device: str = "cpu"
    data_workers: int = 0

    @property
    def results(self) -> DatasetPaths:
        """The dataset's files."""
        return StudyPaths(self.root).dataset(self.dataset)

    def ledger(self, trial_id: str) -> TrialLedger:
        """The ledger of one trial."""
        return TrialLedger(self.results.trials / trial_id)


class Step(NamedTuple):
    """What a step tells its caller: the epoch reached, the objective (NaN for a failed trial), whether it is over."""

    epoch: int
    value: float
    done: bool


class TrialRun:
    """Runs a trial from where its ledger stands; of a trial that has ended it only gives the last step again.

    An error inside the trial is the trial's result (failed, with the error); what goes wrong with the disk is not,
    and is raised. `start` is for trials that train their backbone.
    """

    def __init__(
        self, request: TrialRequest, place: TrialPlace, featured: FeaturedItems, start: FinetuneStart | None = None
    ) -> None:
        self._request = request
        self._place = place
        self._featured = featured
        self._finetune_start = None if start is None else replace(start, num_workers=place.data_workers)
        self._task_class = find_dataset(place.dataset).task
        self._ledger = place.ledger(request.trial_id)
        self._ledger.open(number=request.number, config=request.config)
        self._trainer: Trainer | None = None
        self._best: tuple[int, float] | None = None
        self._baselines: dict[str, QuestionLists] = {}
        self._events: TrialEvents | None = None

    def step(self) -> Step:
        """Run one epoch."""
        if self._ledger.status()[0] is not Status.RUNNING:
            return self._step_of_ended()
        try:
            with computing_threads(self._place.num_threads), deterministic_arithmetic():
                return self._run_epoch(self._trainer or self._start())
        except OSError:
            self.close()  # another step starts from the ledger
            raise
        except Exception as error:  # a trial that raises is a failed trial, the study goes on
            return self._fail(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Let go of the event file and the model."""
        if self._events is not None:
            self._events.close()
        self._trainer = self._events = None

    def _start(self) -> Trainer:
        config = TrialConfig.from_flat(self._request.config)
        task = self._task_class(self._featured, seed=config.train.seed)
        trainer = Trainer(task, config, torch.device(self._place.device), self._finetune_start)
        state = self._ledger.restore()
        if state is not None:
            trainer.load_state_dict(state)
        self._events = TrialEvents(
            self._place.results.events(self._request.trial_id),
            self._request.config,
            task.objective.name,
            last=self._ledger.history()[-1] if trainer.epoch else None,
        )
        best = self._ledger.read().best_epoch(task.objective)
        self._best = None if best is None else (int(best["epoch"]), float(best[task.objective.name]))
        scorer = normalised_baseline(task, Split.VAL, trainer.normalised_features(Split.VAL))
        self._baselines = {NORMALISED: as_lists(task.evaluate(scorer, Split.VAL))}
        self._trainer = trainer
        return trainer

    def _run_epoch(self, trainer: Trainer) -> Step:
        if self._is_over(trainer):
            record = self._ledger.history()[-1]
        else:
            losses, val, train = trainer.train_epoch(), trainer.evaluate(Split.VAL), trainer.evaluate(Split.TRAIN)
            record = losses | val.means() | train.means("train/") | {"time/evaluate_s": val.time_s + train.time_s}
            if broken := [name for name, value in record.items() if not math.isfinite(value)]:
                return self._fail(f"{broken[0]} is {record[broken[0]]} in epoch {trainer.epoch}")
            best = self._best_of(trainer.epoch, float(record[trainer.task.objective.name]), val)
            self._ledger.add_epoch(record, trainer.state_dict(), best)
            assert self._events is not None
            self._events.add_epoch(record)
        done = self._is_over(trainer)
        if done:
            self._ledger.close(Status.COMPLETED)
        return self._step_of(record, done=done)

    def _best_of(self, epoch: int, value: float, val: Evaluation) -> BestEpoch | None:
        """What is kept of an epoch if it is the best so far."""
        if not self._task_class.objective.is_better(value, than=self._best[1] if self._best else None):
            return None
        self._best = (epoch, value)
        return BestEpoch(epoch=epoch, questions=as_lists(val.questions), baselines=self._baselines)

    def _is_over(self, trainer: Trainer) -> bool:
        """Whether the last epoch is reached, or the best one is as long ago as the trial's patience."""
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
        return Step(epoch=int(record["epoch"]), value=float(record[self._task_class.objective.name]), done=done)
