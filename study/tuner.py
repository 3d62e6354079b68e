"""Tune: Ray runs the trials, Optuna suggests them, ASHA stops the weak ones; the ledger records how each ended."""

import logging
import math
import os
import signal
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the trials write their own events
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output engine prints even when told to be silent
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # an interrupt ends the study at once, the ledger is whole
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # `uv run` here means this environment, nothing to pack

import optuna
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from pan_model.data.featured import FeaturedItems
from pan_model.errors import BadInput
from pan_model.finetune_start import FinetuneStart
from pan_model.flat import Scalar
from search_spaces import SearchSpace
from study.config import Scheduler, StudyConfig
from study.journal import (
    STATES,
    JournaledSearch,
    correct_journal,
    final_value,
    make_sampler,
    points_to_try,
    write_journal,
)
from study.ledger import Status, TrialRecord, count_ended, read_ledger
from study.slots import Node, Slots, share_out
from study.trial import TrialPlace, TrialRequest, TrialRun

MAX_REPEATS = 100
"""How often in a row the sampler may suggest what was tried before, until the space counts as used up."""

RAY_STARTS = 3
"""How often Ray is started until it counts as failed."""


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """One dataset's search: what it optimises and in which space.

    complete makes a trial's configuration of what the space suggests, identify names a complete one.
    """

    place: TrialPlace
    metric: str
    mode: Literal["max", "min"]
    space: SearchSpace
    complete: Callable[[dict[str, Scalar]], dict[str, Scalar]]
    identify: Callable[[dict[str, Scalar]], str]
    num_trials: int
    max_epochs: int
    grace_epochs: int

    @property
    def journaled(self) -> JournaledSearch:
        """What the journal is told of the search."""
        return JournaledSearch(name=self.place.dataset, space=self.space, metric=self.metric, mode=self.mode)


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


class LedgerSearch(OptunaSearch):
    """OptunaSearch that tells Optuna how trials really ended, and never suggests one twice in a study."""

    def __init__(self, request: TuneRequest, records: list[TrialRecord], study: StudyConfig) -> None:
        self._request = request
        self._seen = {record.trial_id for record in records if record.status is not Status.RUNNING}
        self._numbers = {record.trial_id: record.number for record in records}
        self._running: dict[str, TrialRequest] = {}
        self._reported: dict[str, set[int]] = {}
        points = points_to_try(records, request.space, lambda config: request.identify(request.complete(config)))
        super().__init__(
            space=request.space.suggest,
            metric=request.metric,
            mode=request.mode,
            points_to_evaluate=points,
            sampler=make_sampler(study.sampler, study.seed, len(records)),
            study_name=request.place.dataset,
            storage=write_journal(request.place.results.journal, records, request.journaled),
        )

    def suggest(self, trial_id: str) -> Any:
        """Suggest a trial that this study has not had yet."""
        for _ in range(MAX_REPEATS):
            trial = self._optuna.ask()
            config = self._request.complete(self._request.space.suggest(trial))
            name = self._request.identify(config)
            if name not in self._seen:
                trial.set_user_attr("trial_id", name)
                self._seen.add(name)
                self._ot_trials[trial_id] = trial
                self._reported[trial_id] = set()
                number = self._numbers.setdefault(name, len(self._numbers))
                self._running[trial_id] = TrialRequest(trial_id=name, number=number, config=config)
                return asdict(self._running[trial_id])
            self._optuna.tell(trial, state=STATES[Status.FAILED])  # tune_dataset writes the journal without it
        return self.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell Optuna of an epoch."""
        self._report(trial_id, int(result["epoch"]), float(result[self._request.metric]))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how the trial ended, as the ledger has it; a trial that was only cut has not ended."""
        request = self._running[trial_id]
        ledger = self._request.place.ledger(request.trial_id)
        ledger.open(number=request.number, config=request.config)
        if error:
            ledger.close(Status.FAILED, "its worker died")
        record = ledger.read()
        if record.status is Status.RUNNING:
            return
        for epoch in record.history:
            self._report(trial_id, int(epoch["epoch"]), float(epoch[self._request.metric]))
        value = final_value(record, self._request.journaled)
        stopped = record.status is Status.STOPPED
        self._optuna.tell(self._ot_trials[trial_id], None if stopped else value, state=STATES[record.status])

    def save(self, checkpoint_path: str) -> None:
        """Leave nothing to restore from: the ledger is all that a study needs to go on."""
        Path(checkpoint_path).touch()

    @property
    def _optuna(self) -> optuna.Study:
        assert self._ot_study is not None
        return self._ot_study

    def _report(self, trial_id: str, epoch: int, value: float) -> None:
        if epoch not in self._reported[trial_id] and math.isfinite(value):
            self._reported[trial_id].add(epoch)
            self._ot_trials[trial_id].report(value, epoch)


class LedgerFIFO(FIFOScheduler):
    """Stops nothing, and writes to the ledger why a trial could not be brought to its end."""

    def __init__(self, place: TrialPlace) -> None:
        super().__init__()
        self._place = place

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Write down the last of the failures that are allowed."""
        write_failure(self._place, trial)


class LedgerASHA(ASHAScheduler):
    """ASHA that writes its stops to the ledger, and whose rungs are filled from it when a study goes on."""

    def __init__(self, request: TuneRequest, records: list[TrialRecord], reduction_factor: float) -> None:
        super().__init__(
            time_attr="epoch",
            metric=request.metric,
            mode=request.mode,
            max_t=request.max_epochs,
            grace_period=request.grace_epochs,
            reduction_factor=reduction_factor,
        )
        self._place = request.place
        sign = 1 if request.mode == "max" else -1
        for milestone, rung in self._rungs:
            for record in records:
                reached = [epoch for epoch in record.history if epoch["epoch"] >= milestone]
                undecided = record.status is Status.RUNNING and len(reached) == 1  # cut between epoch and verdict
                if reached and not undecided:
                    rung[record.trial_id] = sign * reached[0][request.metric]

    @property
    def _rungs(self) -> list[tuple[float, dict[str, float]]]:
        """Milestones (epochs), and the signed value that each trial had there, by Tune's name of the trial."""
        return self._brackets[0]._rungs  # pyright: ignore[reportPrivateUsage]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let a trial that goes on keep its places on the rungs."""
        super().on_trial_add(tune_controller, trial)
        for _, rung in self._rungs:
            if trial.config["trial_id"] in rung:
                rung[trial.trial_id] = rung.pop(trial.config["trial_id"])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide, and write a stop down."""
        decision = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP:
            self._place.ledger(trial.config["trial_id"]).close(Status.STOPPED)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Keep failed trials off the rungs."""
        if math.isfinite(result.get(str(self._metric), math.nan)):
            super().on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Write down the last of the failures that are allowed."""
        write_failure(self._place, trial)


def write_failure(place: TrialPlace, trial: Any) -> None:
    """Write down what Tune knows of a trial whose worker failed once too often; one that starts again is left alone."""
    if trial.should_recover():
        return
    request = TrialRequest(**trial.config)
    ledger = place.ledger(request.trial_id)
    ledger.open(number=request.number, config=request.config)
    lines = str(trial.get_error() or "its worker died").strip().splitlines()
    ledger.close(Status.FAILED, f"given up after {trial.num_failures} failures: {lines[-1]}")


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


@contextmanager
def ray_session(study: StudyConfig) -> Generator[Slots]:
    """Start Ray on this machine, or join the cluster at --ray-address, for as long as the study runs.

    Raises BadInput when Ray does not start or no cluster answers, or when it cannot run even one trial.
    """
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        _start_ray(study.ray_address)
    except Exception as error:  # Ray raises what it likes, and a plain Exception where a busy machine is too slow
        if study.ray_address is None:
            raise BadInput(
                f"Ray did not start on this machine ({error}); where it was too busy, give the same command again."
            ) from error
        raise BadInput(
            f"--ray-address: no Ray cluster answers at '{study.ray_address}' ({error}); "
            "start one with the same versions of Ray and Python, or leave it out."
        ) from error
    signal.signal(signal.SIGTERM, on_terminate)  # Ray's own would end the process at once
    try:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        yield share_out(study, [Node(cpus=have.get("CPU", 0.0), gpus=have.get("GPU", 0.0)) for have in alive])
    finally:
        ray.shutdown()


def _start_ray(address: str | None) -> None:
    """Start or join Ray, once more where a busy machine did not get it up in Ray's own half minute."""
    for start in range(1, RAY_STARTS + 1):
        try:
            ray.init(
                address=address or "local",
                include_dashboard=False if address is None else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
            return
        except Exception as error:  # what Ray raises then is of no kind of its own
            if "timed out during startup" not in str(error) or start == RAY_STARTS:
                raise
            ray.shutdown()


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
