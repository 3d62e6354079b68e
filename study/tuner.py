"""Tune: Ray runs the trials, Optuna suggests them, ASHA stops the weak ones; the ledger records how each ended."""

import logging
import math
import tempfile
from collections.abc import Callable
from typing import Any

import optuna
import torch
from ray import tune
from ray.tune.progress_reporter import TrialProgressCallback

from pan_model.data.featured import FeaturedItems
from pan_model.finetune_start import FinetuneStart
from study.config import Scheduler, StudyConfig
from study.journal import correct_journal
from study.ledger import TrialRecord, count_ended, read_ledger
from study.schedulers import LedgerASHA, LedgerFIFO
from study.searcher import LedgerSearch
from study.slots import Slots
from study.tally import Tally
from study.trial import TrialPlace, TrialRequest, TrialRun
from study.tune_request import TuneRequest


class RayTrial(tune.Trainable):
    """A trial inside a Ray worker; the worker is used again for the next one."""

    def setup(
        self,
        config: dict[str, Any],
        place: TrialPlace | None = None,
        metric: str = "",
        featured: FeaturedItems | None = None,
        start: FinetuneStart | None = None,
        gpu_share: float = 0.0,
    ) -> None:
        """Start the trial that `config` describes."""
        assert place is not None
        assert featured is not None
        if 0 < gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_share)
        self._place, self._metric, self._featured, self._start = place, metric, featured, start
        self._run = TrialRun(TrialRequest(**config), place, featured, start)

    def step(self) -> dict[str, Any]:
        """Run one epoch."""
        step = self._run.step()
        return {"epoch": step.epoch, self._metric: step.value, "done": step.done}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self._run.close()
        self._run = TrialRun(TrialRequest(**new_config), self._place, self._featured, self._start)
        return True

    def cleanup(self) -> None:
        """Close what the trial has open."""
        self._run.close()


class Progress(TrialProgressCallback):
    """Keeps the tally of a search, and calls back whenever there is news.

    It takes the place of Tune's own, which prints, and holds on to every trial.
    """

    def __init__(self, tally: Tally, tell: Callable[[], None]) -> None:
        self.tally = tally
        self._tell = tell

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks, and a terminal cannot be pickled."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """When a worker has a trial, and its folder is written."""
        self.tally.begin(trial.config["trial_id"])
        self._tell()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """After an epoch."""
        self.tally.report(float(result[self.tally.metric]))
        self._tell()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """After a trial, of whose end the tally has heard from the searcher."""
        self._tell()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """After a trial that failed for good."""
        self._tell()


def tune_dataset(
    request: TuneRequest,
    featured: FeaturedItems,
    start: FinetuneStart | None,
    study: StudyConfig,
    slots: Slots,
    *,
    time_budget_s: float,
    progress: Progress,
) -> None:
    """Run the trials that the ledger lacks, until there are num_trials or the time is up."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong with a trial is in the ledger
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    records = read_ledger(request.place.results.trials, best=False)
    if count_ended(records) >= request.num_trials:
        return
    trainable = tune.with_parameters(
        RayTrial, place=request.place, metric=request.metric, featured=featured, start=start, gpu_share=slots.gpus
    )
    run_trials(trainable, request, records, study, slots, time_budget_s=time_budget_s, progress=progress)


def run_trials(
    trainable: Any,
    request: TuneRequest,
    records: list[TrialRecord],
    study: StudyConfig,
    slots: Slots,
    *,
    time_budget_s: float,
    progress: Progress,
) -> None:
    """Run what a search lacks beyond the ledger's records, each trial by a trainable; leaves a true journal."""
    asha = study.scheduler is Scheduler.ASHA
    with tempfile.TemporaryDirectory(prefix="pan-study-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearch(request, records, study, progress.tally.hear),
                scheduler=LedgerASHA(request, records, study.reduction_factor) if asha else LedgerFIFO(request.place),
                num_samples=request.num_trials - count_ended(records),
                max_concurrent_trials=slots.count,
                reuse_actors=True,
                time_budget_s=time_budget_s if math.isfinite(time_budget_s) else None,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name=request.place.dataset,
                callbacks=[progress],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the ledger has the checkpoints
                failure_config=tune.FailureConfig(max_failures=study.max_failures),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            records = read_ledger(request.place.results.trials, best=False)
            correct_journal(request.place.results.journal, records, request.journaled)
