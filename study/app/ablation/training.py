"""Training of the trials that a controlled comparison lacks, in several processes if that is possible."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch

from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.training.trial_cache import TrialCache
from study.app.ablation.config import AblationConfig
from study.app.processes.jobs import Job, Link
from study.app.processes.side_by_side import run_jobs
from study.app.processes.worker_pool import load_ahead
from study.app.processes.worker_process import Worker
from study.config.choices import Regime
from study.nodes.resources import usable_cpus
from study.storage.paths import AblationPaths
from study.terminal import Terminal
from study.trials.ledger import Status, TrialLedger
from study.trials.preparation import PreparedDataset
from study.trials.trial import TrialEnvironment, TrialRun, TrialSpec


@dataclass(frozen=True, kw_only=True)
class TrainingInput:
    """What all trials share.

    Attributes:
        prepared: The dataset with its features.
        environment: The ledger, and the threads and the device of a trial.
    """

    prepared: PreparedDataset
    environment: TrialEnvironment

    @cached_property
    def cache(self) -> TrialCache:
        """What the trials of a process compute alike."""
        return TrialCache()


def plan_workers(config: AblationConfig, regime: Regime, *, num_trials: int, num_gpus: int) -> list[Worker]:
    """Return the processes that train at the same time; fewer than two if all trials run in this process.

    Raises:
        UserError: If --jobs does not fit the regime.
    """
    if regime is Regime.FINETUNE:
        if (config.jobs or 1) > 1:
            raise UserError(f"jobs must be 1 for a study with --regime finetune, got {config.jobs}.")
        return []
    count = min(num_trials, config.jobs or num_gpus or max(1, usable_cpus() // config.cpus_per_trial))
    gpus = [number % num_gpus if num_gpus else None for number in range(count)]
    return [Worker(num_threads=config.cpus_per_trial, gpu=gpu) for gpu in gpus]


def load_workers(workers: Sequence[Worker]) -> None:
    """Start to load what worker processes need, if there are several."""
    if len(workers) > 1:
        load_ahead(["study.app.ablation.training"])


def train_trials(
    trials: Sequence[tuple[str, TrialSpec]],
    prepared: PreparedDataset,
    paths: AblationPaths,
    config: AblationConfig,
    workers: Sequence[Worker],
    terminal: Terminal,
    trial_ended: Callable[[], None],
) -> None:
    """Train trials to their end; those that were interrupted continue.

    Args:
        trials: The trials with their names.
        prepared: The dataset with its features.
        paths: The files of the comparison.
        config: The flags.
        workers: The processes that train at the same time.
        terminal: Shows the progress.
        trial_ended: Called whenever a trial has ended.

    Raises:
        MachineFault: If a file cannot be read or written because of the machine. Trials are never failed by it.
        UserError: If a process was killed.
    """
    environment = TrialEnvironment(
        results=paths,
        num_threads=config.cpus_per_trial,
        device="cuda" if torch.cuda.is_available() else "cpu",
        data_workers=0 if prepared.start is None else prepared.start.num_workers,
    )
    if len(workers) > 1:
        terminal.say(f"{counted(len(trials), 'trial')} run in {counted(len(workers), 'process', 'processes')}")
    jobs = [Job(name=name, run=partial(train_trial, name=name, spec=spec)) for name, spec in trials]
    shared = TrainingInput(prepared=prepared, environment=environment)
    run_jobs(jobs, shared, workers, terminal, num_threads=config.cpus_per_trial, job_ended=trial_ended)


def train_trial(shared: TrainingInput, link: Link, *, name: str, spec: TrialSpec) -> None:
    """Train a trial to its end, and print its value."""
    prepared, paths = shared.prepared, shared.environment.results.dataset(spec.dataset)
    TrialLedger(paths.trials / spec.trial_id).reopen(spec.config)
    run = TrialRun(spec, shared.environment, prepared.featured, prepared.start, shared.cache)
    try:
        done = False
        while not done:
            step = run.step()
            done = step.done
            link.show(partial("{}: epoch {}/{}".format, name, step.epoch, spec.config["max_epochs"]))
    finally:
        run.close()
    record, objective = TrialLedger(run.folder).read(best=False), prepared.row.task.objective
    best = record.best_epoch(objective)
    if record.status is Status.FAILED or best is None:
        link.say(f"{name}: failed: {record.error}")
    else:
        epochs = counted(len(record.history), "epoch")
        link.say(f"{name}: {objective.name} {best[objective.name]:.4f} in epoch {best['epoch']} of {epochs}")
