"""Tune: Ray runs the trials, Optuna suggests them, ASHA stops the weak ones; the ledger records how each ended."""

import logging
import math
import os
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.tune import TuneError
from ray.util import get_node_ip_address

from pan_model.data.featured_items import FeaturedItems
from pan_model.errors import UserError
from pan_model.training.finetune_start import FinetuneStart
from study.config.choices import Scheduler
from study.config.study_config import StudyConfig
from study.nodes.file_server import file_server
from study.nodes.image_transfer import start_on_this_node
from study.nodes.node_probe import node_name
from study.nodes.requirements import REQUIREMENT_FAILURE, NodeRequirements, check_requirements, node_requirements
from study.nodes.slots import Slots, current_slots
from study.storage.object_store import StoreError
from study.storage.paths import StudyPaths
from study.trials.host import TrialHost, write_host
from study.trials.ledger import TrialRecord, count_ended, read_ledger
from study.trials.preparation import PreparedDataset
from study.trials.trial import TrialPlace, TrialRun
from study.tuning.budget import Budget
from study.tuning.journal import correct_journal
from study.tuning.journal_copy import JournalCopy
from study.tuning.round_robin import PerDatasetScheduler, RoundRobinSearcher
from study.tuning.schedulers import LedgerASHA, LedgerFIFO
from study.tuning.search_progress import SearchProgress
from study.tuning.searcher import LedgerSearch
from study.tuning.stopper import SearchStopper
from study.tuning.tune_progress import Progress
from study.tuning.tune_request import TuneRequest, request_of


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
        server: Any = None,
        requirements: NodeRequirements | None = None,
    ) -> None:
        """Take the trial that `config` describes; `requirements` say on which nodes it may run.

        The server sends the images where nodes do not see them.
        """
        assert shared is not None
        if 0 < gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_share)
        self._shared, self._server, self._requirements, self._config = shared, server, requirements, config
        self._run: TrialRun | None = None

    def step(self) -> dict[str, Any]:
        """Run one epoch; on a node that may not run trials, only tell why."""
        if self._requirements is not None:
            if failure := check_requirements(self._requirements):
                told = f"node {node_name(get_node_ip_address())} {failure}"
                return {"epoch": 0, self._of_dataset.metric: math.nan, "done": True, REQUIREMENT_FAILURE: told}
            self._requirements = None  # once in a process is enough
        self._run = self._run or self._begin()
        step = self._run.step()
        return {"epoch": step.epoch, self._of_dataset.metric: step.value, "done": step.done}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self.cleanup()
        self._config = new_config
        return True

    def cleanup(self) -> None:
        """Close what the trial has open."""
        if self._run is not None:
            self._run.close()
            self._run = None

    def _begin(self) -> TrialRun:
        """Begin with the first step: Tune makes workers for trials that it then runs in others."""
        request, of = request_of(self._config), self._of_dataset
        start = of.start if of.start is None or self._server is None else start_on_this_node(of.start, self._server)
        run = TrialRun(request, of.place, of.featured, start)
        host = TrialHost(
            node_id=ray.get_runtime_context().get_node_id(),
            address=get_node_ip_address(),
            hostname=socket.gethostname(),
            pid=os.getpid(),
        )
        write_host(of.place.ledger(request.trial_id).folder, host)
        return run

    @property
    def _of_dataset(self) -> TrialsOfDataset:
        return self._shared[self._config["dataset"]]


def tune_datasets(
    requests: Sequence[tuple[TuneRequest, PreparedDataset]],
    study: StudyConfig,
    slots: Slots,
    *,
    budget: Budget,
    progress_of: Mapping[str, SearchProgress],
    tell: Callable[[], None],
) -> None:
    """Run the trials that the ledgers lack, of all datasets at once, until there are enough or the budget is spent.

    The progress_of, by dataset, hear of all that happens, and `tell` is called after.
    """
    lacking = [
        (request, prepared)
        for request, prepared in requests
        if progress_of[request.place.dataset].ended < request.num_trials
    ]
    if not lacking:
        return
    images = any(prepared.start for _, prepared in lacking)
    with file_server() if images and study.ray_address is not None else nullcontext() as server:
        trainable = _trainable(lacking, study, slots, server)
        run_trials(
            trainable,
            [request for request, _ in lacking],
            study,
            slots,
            budget=budget,
            progress_of=progress_of,
            tell=tell,
        )


def run_trials(
    trainable: Any,
    requests: Sequence[TuneRequest],
    study: StudyConfig,
    slots: Slots,
    *,
    budget: Budget,
    progress_of: Mapping[str, SearchProgress],
    tell: Callable[[], None],
) -> None:
    """Run what searches lack beyond their ledgers, each trial by a trainable; leaves true journals.

    On a cluster UserError tells of a node that came later and may not run trials; the study is whole then.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong with a trial is in the ledger
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ended = SearchStopper(budget)
    with tempfile.TemporaryDirectory(prefix="pan-study-") as folder:
        journals = {request.place.dataset: _journal(request, Path(folder)) for request in requests}
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=_tune_config(requests, journals, progress_of, study, slots),
            run_config=tune.RunConfig(
                storage_path=folder,
                name="trials",
                stop=ended,
                callbacks=[Progress(progress_of, tell, lambda: [journal.keep() for journal in journals.values()])],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the ledger has the checkpoints
                failure_config=tune.FailureConfig(max_failures=1),  # the schedulers count
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except TuneError as error:
            if failure := _store_error_behind(error):
                raise failure from error
            raise
        finally:
            for request in requests:
                journal = journals[request.place.dataset]
                correct_journal(journal.file, read_ledger(request.place.results.trials, best=False), request.journaled)
                journal.keep(now=True)
    if ended.requirement_failure:
        raise UserError(f"{ended.requirement_failure}. The study is whole; go on with --resume.")


def _store_error_behind(error: BaseException) -> StoreError | None:
    """What the store did where Tune, which passes errors of its callbacks on as text, ended for that."""
    name = f"{StoreError.__module__}.{StoreError.__qualname__}: "
    while error.__cause__ is not None:
        error = error.__cause__
    last = str(error).strip().splitlines()[-1:]
    found = last and last[0].startswith(name)
    return StoreError(last[0].removeprefix(name)) if found else None


def _journal(request: TuneRequest, folder: Path) -> JournalCopy:
    own = folder / request.place.dataset
    own.mkdir()
    return JournalCopy(request.place.results.journal, own)


def _trainable(
    requests: Sequence[tuple[TuneRequest, PreparedDataset]], study: StudyConfig, slots: Slots, server: Any
) -> Any:
    shared = {
        request.place.dataset: TrialsOfDataset(
            place=request.place, metric=request.objective.name, featured=prepared.featured, start=prepared.start
        )
        for request, prepared in requests
    }
    root = requests[0][0].place.root
    requirements = node_requirements(StudyPaths(root), gpu=slots.gpus > 0) if study.ray_address else None
    return tune.with_parameters(RayTrial, shared=shared, gpu_share=slots.gpus, server=server, requirements=requirements)


def _tune_config(
    requests: Sequence[TuneRequest],
    journals: Mapping[str, JournalCopy],
    progress_of: Mapping[str, SearchProgress],
    study: StudyConfig,
    slots: Slots,
) -> tune.TuneConfig:
    missing: dict[str, int] = {}
    searchers: dict[str, LedgerSearch] = {}
    schedulers: dict[str, LedgerASHA | LedgerFIFO] = {}
    for request in requests:
        dataset = request.place.dataset
        records = read_ledger(request.place.results.trials, best=False)
        missing[dataset] = max(0, request.num_trials - count_ended(records))
        searchers[dataset] = LedgerSearch(
            request, records, study, journals[dataset].file, progress_of[dataset].trial_finished
        )
        schedulers[dataset] = _scheduler(request, records, study)
    return tune.TuneConfig(
        search_alg=RoundRobinSearcher(searchers, missing, current_slots(study, slots)),
        scheduler=PerDatasetScheduler(schedulers),
        num_samples=sum(missing.values()),
        reuse_actors=True,
    )


def _scheduler(request: TuneRequest, records: list[TrialRecord], study: StudyConfig) -> LedgerASHA | LedgerFIFO:
    if study.scheduler is Scheduler.ASHA:
        return LedgerASHA(request, records, study.reduction_factor, study.max_failures)
    return LedgerFIFO(request.place, study.max_failures)
