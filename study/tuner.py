"""Tune: Ray runs the trials, Optuna suggests them, ASHA stops the weak ones; the ledger records how each ended."""

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from ray import tune
from ray.tune import TuneError

from pan_model.data.featured import FeaturedItems
from pan_model.finetune_start import FinetuneStart
from study.budget import Budget
from study.config import Scheduler, StudyConfig
from study.file_desk import file_desk
from study.journal import correct_journal
from study.journal_copy import JournalCopy
from study.ledger import TrialRecord, count_ended, read_ledger
from study.node_pictures import start_on_this_node
from study.object_store import StoreError
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
        self,
        config: dict[str, Any],
        shared: dict[str, TrialsOfDataset] | None = None,
        gpu_share: float = 0.0,
        desk: Any = None,
    ) -> None:
        """Start the trial that `config` describes; the desk has the pictures where nodes do not see them."""
        assert shared is not None
        if 0 < gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_share)
        self._shared = shared
        self._desk = desk
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
        start = of.start if of.start is None or self._desk is None else start_on_this_node(of.start, self._desk)
        self._run = TrialRun(request_of(config), of.place, of.featured, start)


class Progress(tune.Callback):
    """Calls back after every epoch and every end of a trial; after the latter the journal is kept, too."""

    def __init__(self, tell: Callable[[], None], keep: Callable[[], object]) -> None:
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


@dataclass(frozen=True, kw_only=True)
class Search:
    """One dataset's part in a run of Tune: what is asked, on which data, what there is already, and the journal."""

    request: TuneRequest
    prepared: PreparedDataset
    records: list[TrialRecord]
    journal: JournalCopy

    @property
    def missing(self) -> int:
        """How many trials the ledger lacks."""
        return max(0, self.request.num_trials - count_ended(self.records))


def tune_datasets(
    requests: Sequence[tuple[TuneRequest, PreparedDataset]],
    study: StudyConfig,
    slots: Slots,
    *,
    budget: Budget,
    tell: Callable[[], None],
) -> None:
    """Run the trials that the ledgers lack, of all datasets at once, until there are enough or the budget is spent."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong with a trial is in the ledger
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shares_pictures = study.ray_address is not None and any(prepared.start for _, prepared in requests)
    with (
        tempfile.TemporaryDirectory(prefix="pan-study-") as folder,
        file_desk() if shares_pictures else nullcontext() as desk,
    ):
        searches = {request.place.dataset: _search(request, prepared, Path(folder)) for request, prepared in requests}
        searches = {dataset: search for dataset, search in searches.items() if search.missing}
        if not searches:
            return
        tuner = tune.Tuner(
            tune.with_resources(_trainable(searches, slots, desk), {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=_tune_config(searches, study, slots),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="trials",
                stop=Ended(budget),
                callbacks=[Progress(tell, lambda: [search.journal.keep() for search in searches.values()])],
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
            for search in searches.values():
                request = search.request
                correct_journal(search.journal.file, read_ledger(request.place.results.trials), request.journaled)
                search.journal.keep(now=True)


def _search(request: TuneRequest, prepared: PreparedDataset, folder: Path) -> Search:
    journals = folder / request.place.dataset
    journals.mkdir()
    return Search(
        request=request,
        prepared=prepared,
        records=read_ledger(request.place.results.trials),
        journal=JournalCopy(request.place.results.journal, journals),
    )


def _trainable(searches: Mapping[str, Search], slots: Slots, desk: Any) -> Any:
    shared = {
        dataset: TrialsOfDataset(
            place=search.request.place,
            metric=search.request.metric,
            featured=search.prepared.featured,
            start=search.prepared.start,
        )
        for dataset, search in searches.items()
    }
    return tune.with_parameters(RayTrial, shared=shared, gpu_share=slots.gpus, desk=desk)


def _tune_config(searches: Mapping[str, Search], study: StudyConfig, slots: Slots) -> tune.TuneConfig:
    missing = {dataset: search.missing for dataset, search in searches.items()}
    searchers = {
        dataset: LedgerSearch(search.request, search.records, study, search.journal.file)
        for dataset, search in searches.items()
    }
    return tune.TuneConfig(
        search_alg=TakingTurns(searchers, missing, lambda: slots.count),
        scheduler=EachByItsOwn({dataset: _scheduler(search, study) for dataset, search in searches.items()}),
        num_samples=sum(missing.values()),
        reuse_actors=True,
    )


def _scheduler(search: Search, study: StudyConfig) -> LedgerASHA | LedgerFIFO:
    if study.scheduler is Scheduler.ASHA:
        return LedgerASHA(search.request, search.records, study.reduction_factor)
    return LedgerFIFO(search.request.place)
