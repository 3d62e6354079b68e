"""Tune: Ray runs the trials, Optuna suggests them, ASHA stops the weak ones; the ledger records how each ended."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import torch
from ray import tune

from pan_model.data.featured import FeaturedItems
from pan_model.finetune_start import FinetuneStart
from study.budget import Budget
from study.config import Scheduler, StudyConfig
from study.journal import correct_journal
from study.ledger import TrialRecord, count_ended, read_ledger
from study.prepare import PreparedDataset
from study.schedulers import LedgerASHA, LedgerFIFO
from study.searcher import LedgerSearch
from study.slots import Slots
from study.trial import TrialPlace, TrialRun
from study.tune_request import TuneRequest, request_of
from study.turns import EachByItsOwn, TakingTurns


@dataclass(frozen=True, kw_only=True)
class TrialsOfDataset:
    """What all trials of a dataset share: where they write, what they are judged by, and the data."""

    place: TrialPlace
    metric: str
    featured: FeaturedItems
    start: FinetuneStart | None


class RayTrial(tune.Trainable):
    """A trial inside a Ray worker; the worker is used again for the next one, be it of another dataset."""

    def setup(
        self, config: dict[str, Any], shared: dict[str, TrialsOfDataset] | None = None, gpu_share: float = 0.0
    ) -> None:
        """Start the trial that `config` describes."""
        assert shared is not None
        if 0 < gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_share)
        self._shared = shared
        self._begin(config)

    def step(self) -> dict[str, Any]:
        """Run one epoch."""
        step = self._run.step()
        return {"epoch": step.epoch, self._metric: step.value, "done": step.done}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self._run.close()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Close what the trial has open."""
        self._run.close()

    def _begin(self, config: dict[str, Any]) -> None:
        of = self._shared[config["dataset"]]
        self._metric = of.metric
        self._run = TrialRun(request_of(config), of.place, of.featured, of.start)


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


class Ended(tune.Stopper):
    """Ends a search when its budget is used up; no single trial is stopped by it."""

    def __init__(self, budget: Budget) -> None:
        self._budget: Budget | None = budget

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles what it runs with, and a budget asks a cluster."""
        return {"_budget": None}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never: a trial ends by itself, or ASHA stops it."""
        return False

    def stop_all(self) -> bool:
        """Whether nothing more may run."""
        return self._budget is not None and self._budget.used_up


def tune_datasets(
    searches: Sequence[tuple[TuneRequest, PreparedDataset]],
    study: StudyConfig,
    slots: Slots,
    *,
    budget: Budget,
    tell: Callable[[], None],
) -> None:
    """Run the trials that the ledgers lack, of all datasets at once, until there are enough or the budget is spent."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong with a trial is in the ledger
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    records = {request.place.dataset: read_ledger(request.place.results.trials) for request, _ in searches}
    missing = {
        request.place.dataset: max(0, request.num_trials - count_ended(records[request.place.dataset]))
        for request, _ in searches
    }
    searches = [search for search in searches if missing[search[0].place.dataset]]
    if not searches:
        return
    asked = {request.place.dataset: (request, records[request.place.dataset]) for request, _ in searches}
    with tempfile.TemporaryDirectory(prefix="pan-study-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(_trainable(searches, slots), {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=TakingTurns(
                    {name: LedgerSearch(*of, study) for name, of in asked.items()}, missing, lambda: slots.count
                ),
                scheduler=EachByItsOwn({name: _scheduler(*of, study) for name, of in asked.items()}),
                num_samples=sum(missing.values()),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="trials",
                stop=Ended(budget),
                callbacks=[Progress(tell)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the ledger has the checkpoints
                failure_config=tune.FailureConfig(max_failures=study.max_failures),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            for request, _ in searches:
                place = request.place
                correct_journal(place.results.journal, read_ledger(place.results.trials), request.journaled)


def _trainable(searches: Sequence[tuple[TuneRequest, PreparedDataset]], slots: Slots) -> Any:
    shared = {
        request.place.dataset: TrialsOfDataset(
            place=request.place, metric=request.metric, featured=prepared.featured, start=prepared.start
        )
        for request, prepared in searches
    }
    return tune.with_parameters(RayTrial, shared=shared, gpu_share=slots.gpus)


def _scheduler(request: TuneRequest, records: list[TrialRecord], study: StudyConfig) -> LedgerASHA | LedgerFIFO:
    if study.scheduler is Scheduler.ASHA:
        return LedgerASHA(request, records, study.reduction_factor)
    return LedgerFIFO(request.place)
