"""Tune: Ray runs the trials, Optuna suggests them, ASHA stops the weak ones; the ledger records how each ended."""

import logging
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
from ray import tune
from ray.tune import TuneError

from pan_model.data.featured import FeaturedItems
from pan_model.finetune_start import FinetuneStart
from study.config import Scheduler, StudyConfig
from study.journal import correct_journal
from study.journal_copy import JournalCopy
from study.ledger import count_ended, read_ledger
from study.object_store import StoreError
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


class Progress(tune.Callback):
    """Calls back after every epoch and every end of a trial; after the latter the journal is kept, too."""

    def __init__(self, tell: Callable[[], None], keep: Callable[[], None]) -> None:
        self._tell = tell
        self._keep = keep

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
        self._keep()


def _store_error_behind(error: BaseException) -> StoreError | None:
    """What the store did where Tune, which passes errors of its callbacks on as text, ended for that."""
    name = f"{StoreError.__module__}.{StoreError.__qualname__}: "
    while error.__cause__ is not None:
        error = error.__cause__
    last = str(error).strip().splitlines()[-1:]
    found = last and last[0].startswith(name)
    return StoreError(last[0].removeprefix(name)) if found else None


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
    trainable = tune.with_parameters(
        RayTrial, place=request.place, metric=request.metric, featured=featured, start=start, gpu_share=slots.gpus
    )
    asha = study.scheduler is Scheduler.ASHA
    with tempfile.TemporaryDirectory(prefix="pan-study-") as folder:
        journal = JournalCopy(request.place.results.journal, Path(folder))
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=LedgerSearch(request, records, study, journal.file),
                scheduler=LedgerASHA(request, records, study.reduction_factor) if asha else LedgerFIFO(request.place),
                num_samples=missing,
                max_concurrent_trials=slots.count,
                reuse_actors=True,
                time_budget_s=time_budget_s if math.isfinite(time_budget_s) else None,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name=request.place.dataset,
                callbacks=[Progress(tell, journal.keep)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the ledger has the checkpoints
                failure_config=tune.FailureConfig(max_failures=study.max_failures),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except TuneError as error:
            raise _store_error_behind(error) or error from error
        finally:
            correct_journal(journal.file, read_ledger(request.place.results.trials), request.journaled)
            journal.keep(now=True)
