"""Tune: Ray runs the trials, Optuna suggests them, ASHA stops the weak ones; the ledger records how each ended."""

import logging
import math
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import optuna
import torch
from ray import tune

from pan_model.data.featured import FeaturedItems
from pan_model.finetune_start import FinetuneStart
from study.config import Scheduler, StudyConfig
from study.file_desk import file_desk
from study.journal import correct_journal
from study.ledger import count_ended, read_ledger
from study.node_pictures import start_on_this_node
from study.schedulers import LedgerASHA, LedgerFIFO
from study.searcher import LedgerSearch
from study.slots import Slots
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
        desk: Any = None,
    ) -> None:
        """Start the trial that `config` describes; the desk has the pictures where nodes do not see them."""
        assert place is not None
        assert featured is not None
        if 0 < gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_share)
        self._place, self._metric, self._featured = place, metric, featured
        self._start = start if start is None or desk is None else start_on_this_node(start, desk)
        self._run = TrialRun(TrialRequest(**config), place, featured, self._start)

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


class Progress(tune.Callback):
    """Calls back after every epoch and every end of a trial."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks, and a terminal cannot be pickled."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """After an epoch."""
        self._tell()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """After a trial."""
        self._tell()


def tune_dataset(
    request: TuneRequest,
    featured: FeaturedItems,
    start: FinetuneStart | None,
    study: StudyConfig,
    slots: Slots,
    *,
    time_budget_s: float,
    tell: Callable[[], None],
) -> None:
    """Run the trials that the ledger lacks, until there are num_trials or the time is up."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong with a trial is in the ledger
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    records = read_ledger(request.place.results.trials)
    missing = request.num_trials - count_ended(records)
    if missing <= 0:
        return
    asha = study.scheduler is Scheduler.ASHA
    shares_pictures = start is not None and study.ray_address is not None
    with (
        tempfile.TemporaryDirectory(prefix="pan-study-") as folder,
        file_desk() if shares_pictures else nullcontext() as desk,
    ):
        trainable = tune.with_parameters(
            RayTrial,
            place=request.place,
            metric=request.metric,
            featured=featured,
            start=start,
            gpu_share=slots.gpus,
            desk=desk,
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearch(request, records, study),
                scheduler=LedgerASHA(request, records, study.reduction_factor) if asha else LedgerFIFO(request.place),
                num_samples=missing,
                max_concurrent_trials=slots.count,
                reuse_actors=True,
                time_budget_s=time_budget_s if math.isfinite(time_budget_s) else None,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name=request.place.dataset,
                callbacks=[Progress(tell)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the ledger has the checkpoints
                failure_config=tune.FailureConfig(max_failures=study.max_failures),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            correct_journal(request.place.results.journal, read_ledger(request.place.results.trials), request.journaled)
