"""Tune: Ray runs the trials, Optuna suggests them, ASHA stops the weak ones; the ledger records how each ended."""

import logging
import math
import os
import socket
import tempfile
from collections.abc import Callable
from typing import Any

import optuna
import ray
import torch
from ray import tune
from ray.util import get_node_ip_address

from pan_model.data.featured import FeaturedItems
from pan_model.errors import BadInput
from pan_model.finetune_start import FinetuneStart
from study.config import Scheduler, StudyConfig
from study.journal import correct_journal
from study.late_node import Terms, find_breach, terms_of
from study.ledger import count_ended, read_ledger
from study.node_probe import node_name
from study.results import Results
from study.schedulers import LedgerASHA, LedgerFIFO
from study.searcher import LedgerSearch
from study.slot_limit import SlotLimiter, current_slots
from study.slots import Slots
from study.trial import TrialPlace, TrialRequest, TrialRun
from study.trial_host import TrialHost, write_host
from study.tune_request import TuneRequest

BREACH = "breach"
"""In a result: why the node may not run trials."""


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
        terms: Terms | None = None,
    ) -> None:
        """Take the trial that `config` describes; `terms` say on which nodes it may run."""
        assert place is not None
        assert featured is not None
        if 0 < gpu_share < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(gpu_share)
        self._place, self._metric, self._featured, self._start = place, metric, featured, start
        self._terms, self._config = terms, config
        self._run: TrialRun | None = None

    def step(self) -> dict[str, Any]:
        """Run one epoch; on a node that may not run trials, only tell why."""
        if self._terms is not None:
            if breach := find_breach(self._terms):
                told = f"node {node_name(get_node_ip_address())} {breach}"
                return {"epoch": 0, self._metric: math.nan, "done": True, BREACH: told}
            self._terms = None  # once in a process is enough
        self._run = self._run or self._begin()
        step = self._run.step()
        return {"epoch": step.epoch, self._metric: step.value, "done": step.done}

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
        request = TrialRequest(**self._config)
        run = TrialRun(request, self._place, self._featured, self._start)
        host = TrialHost(
            node_id=ray.get_runtime_context().get_node_id(),
            address=get_node_ip_address(),
            hostname=socket.gethostname(),
            pid=os.getpid(),
        )
        write_host(self._place.ledger(request.trial_id).folder, host)
        return run


class BreachStopper(tune.Stopper):
    """Ends the search when a node tells that it may not run trials, before all of them are tried there."""

    def __init__(self) -> None:
        self.told = ""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Take note of what a node told; no trial is stopped for it."""
        self.told = self.told or result.get(BREACH, "")
        return False

    def stop_all(self) -> bool:
        """Whether a node has told."""
        return bool(self.told)


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
    """Run the trials that the ledger lacks, until there are num_trials or the time is up.

    On a cluster BadInput tells of a node that came later and may not run trials; the study is whole then.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what goes wrong with a trial is in the ledger
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    records = read_ledger(request.place.results.trials)
    missing = request.num_trials - count_ended(records)
    if missing <= 0:
        return
    trainable = tune.with_parameters(
        RayTrial,
        place=request.place,
        metric=request.metric,
        featured=featured,
        start=start,
        gpu_share=slots.gpus,
        terms=terms_of(Results(request.place.root), gpu=slots.gpus > 0) if study.ray_address else None,
    )
    breach = BreachStopper()
    asha = study.scheduler is Scheduler.ASHA
    with tempfile.TemporaryDirectory(prefix="pan-study-") as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=SlotLimiter(LedgerSearch(request, records, study), current_slots(study, slots)),
                scheduler=LedgerASHA(request, records, study.reduction_factor, study.max_failures)
                if asha
                else LedgerFIFO(request.place, study.max_failures),
                num_samples=missing,
                reuse_actors=True,
                time_budget_s=time_budget_s if math.isfinite(time_budget_s) else None,
            ),
            run_config=tune.RunConfig(
                storage_path=folder,
                name=request.place.dataset,
                callbacks=[Progress(tell)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the ledger has the checkpoints
                failure_config=tune.FailureConfig(max_failures=1),  # the schedulers count
                stop=breach,
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        finally:
            correct_journal(request.place.results.journal, read_ledger(request.place.results.trials), request.journaled)
    if breach.told:
        raise BadInput(f"{breach.told}. The study is whole; go on with --resume.")
