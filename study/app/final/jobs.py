"""The jobs of a final training: the baseline paper_setting in two parts, a job for each seed, the other baselines.

Each job evaluates its model on the test split as soon as it is trained, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from pan_model.backbones.architectures import Backbone
from pan_model.command_line import counted
from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.model.pan import Pan
from pan_model.scores import QuestionScores
from pan_model.scoring.baselines.choice import PAPER_SETTING, names_of
from pan_model.scoring.baselines.setting import Setting
from pan_model.training.trainer import Trainer
from study.app.final.baselines import (
    FITTING,
    TESTING,
    TRAIN_PAPER,
    BaselineResult,
    PaperResult,
    choose_paper_epochs,
    names_apart,
    names_on_inputs,
    quick_names,
    score_apart,
    score_on_inputs,
    score_quick,
    train_paper,
)
from study.app.final.final_input import TRAIN_ON, FinalInput
from study.app.processes.jobs import Job, Link
from study.app.processes.side_by_side import run_jobs
from study.app.processes.worker_process import Worker
from study.config.choices import Regime
from study.config.final_config import FinalConfig
from study.nodes.resources import usable_cpus
from study.terminal import Terminal

CHOOSE_EPOCHS = "baseline paper_setting (number of epochs)"
QUICK = "quick baselines"
ON_INPUTS = "baselines on normalised features"
"""Names of jobs."""

PAN_SEEDS = "PAN"
"""A part of the time that a final training takes."""


@dataclass(frozen=True, kw_only=True)
class FirstModel:
    """The model of the first seed, which is written.

    Attributes:
        model: The model, on the CPU.
        config: Its configuration.
        backbone: The backbone, if it was trained with the model.
        relevance: The mean relevance of each condition over pairs of training images.
    """

    model: Pan
    config: TrialConfig
    backbone: Backbone | None
    relevance: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """The scores of a seed's model on the test split, and the model itself for the first seed."""

    scores: QuestionScores
    first: FirstModel | None


@dataclass(frozen=True, kw_only=True)
class FinalResults:
    """The results of all jobs.

    Attributes:
        seeds: The scores of each seed's model.
        first: The model of the first seed.
        baselines: The scores of the baselines, in the order of tables.
        settings: The settings of baselines that have one.
        not_run: The baselines of the dataset that --baselines leaves out.
        paper: The baseline paper_setting, if it was trained.
        times_s: Seconds of each part, added up over the processes.
        num_processes: The number of processes that worked at the same time.
    """

    seeds: list[QuestionScores]
    first: FirstModel
    baselines: dict[str, QuestionScores]
    settings: dict[str, Setting]
    not_run: tuple[str, ...]
    paper: PaperResult | None
    times_s: dict[str, float] = field(default_factory=dict[str, float])
    num_processes: int = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The worker processes of a final training; fewer than two if it runs in one process. And the threads of a job."""

    workers: Sequence[Worker]
    num_threads: int


def plan_workers(config: FinalConfig, regime: Regime, *, num_gpus: int) -> Plan:
    """Choose the number of processes, and the threads of a training.

    Without --jobs there is a process for each core, or for each GPU. The cores are divided by the number of trainings,
    so that results do not depend on --jobs.

    Args:
        config: The flags.
        regime: Trainings of the backbone run one after another, since each takes all images and much memory.
        num_gpus: The number of GPUs.

    Raises:
        UserError: If --jobs does not fit the regime.
    """
    cores = usable_cpus()
    if regime is Regime.FINETUNE:
        if (config.jobs or 1) > 1:
            raise UserError(f"jobs must be 1 for a study with --regime finetune, got {config.jobs}.")
        return Plan(workers=(), num_threads=min(cores, torch.get_num_threads()))
    trainings = config.seeds + 2 * (PAPER_SETTING in config.baseline_names)
    num_workers = min(trainings, config.jobs or num_gpus or cores)
    num_threads = max(1, min(cores // (num_workers if num_gpus else trainings), torch.get_num_threads()))
    gpus = [number % num_gpus if num_gpus else None for number in range(num_workers)]
    return Plan(workers=[Worker(num_threads=num_threads, gpu=gpu) for gpu in gpus], num_threads=num_threads)


def run_final_jobs(final: FinalInput, plan: Plan, terminal: Terminal) -> FinalResults:
    """Train and test the model from each seed, and the baselines.

    Args:
        final: The configuration and the data.
        plan: The processes that work at the same time.
        terminal: Shows the progress.

    Raises:
        UserError: If the cache cannot be written, a process was killed, or --baselines names one that the dataset
            does not have.
    """
    config, names = final.config, final.names
    jobs = [Job(name=_seed_name(seed), run=partial(train_seed, seed=seed)) for seed in range(config.seeds)]
    if PAPER_SETTING in names:
        jobs = [Job(name=CHOOSE_EPOCHS, run=choose_paper_epochs), *jobs]
    jobs += [Job(name=f"baseline {name}", run=partial(score_apart, name=name)) for name in names_apart(final)]
    if PAPER_SETTING in names:
        jobs.append(Job(name=TRAIN_PAPER, run=train_paper, follows=CHOOSE_EPOCHS))
    if names_on_inputs(final):
        jobs.append(Job(name=ON_INPUTS, run=score_on_inputs))
    if quick_names(final):
        jobs.append(Job(name=QUICK, run=score_quick))
    workers = plan.workers[: len(jobs)]
    if len(workers) > 1:
        terminal.say(
            f"{counted(config.seeds, 'seed')} and the baselines run in {len(workers)} processes of "
            f"{counted(plan.num_threads, 'thread')}; each model is tested once, after its training"
        )
    else:
        terminal.say("each model is tested once, after its training")
    ended = run_jobs(jobs, final, workers, terminal, num_threads=plan.num_threads)
    results: list[SeedResult] = [ended[_seed_name(seed)].result for seed in range(config.seeds)]
    first = results[0].first
    assert first is not None
    paper: PaperResult | None = ended[TRAIN_PAPER].result if TRAIN_PAPER in ended else None
    others: dict[str, BaselineResult] = {}
    for job in (QUICK, ON_INPUTS, *(f"baseline {name}" for name in names_apart(final))):
        others |= ended[job].result if job in ended else {}
    scores = {name: result.scores for name, result in others.items()}
    if paper is not None:
        scores[PAPER_SETTING] = paper.scores
    parts = {
        TRAIN_PAPER: TRAIN_PAPER,
        PAN_SEEDS: f"PAN ({counted(config.seeds, 'seed')})",
        FITTING: FITTING,
        TESTING: TESTING,
    }
    spent = {part: [job.times_s[part] for job in ended.values() if part in job.times_s] for part in parts}
    return FinalResults(
        seeds=[result.scores for result in results],
        first=first,
        baselines={name: scores[name] for name in names},
        settings={name: others[name].setting for name in names if name in others and others[name].setting},
        not_run=tuple(name for name in names_of(final.task) if name not in names),
        paper=paper,
        times_s={parts[part]: sum(times_s) for part, times_s in spent.items() if times_s},
        num_processes=max(1, len(workers)),
    )


def _seed_name(seed: int) -> str:
    return f"seed {seed}"


def train_seed(final: FinalInput, link: Link, *, seed: int) -> SeedResult:
    """Train the configuration from a seed on train + val, and test the model."""
    config = replace(final.trial, train=replace(final.trial.train, seed=seed))
    epochs = final.best["metric"]["epoch"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with link.timed(PAN_SEEDS):
        trainer = Trainer(final.task, config, device, final.prepared.start)
        while trainer.epoch < epochs:
            trainer.train_epoch()
            link.show(lambda: f"seed {seed}: epoch {trainer.epoch}/{epochs}")
        trainer.close()
    link.say(f"seed {seed}: trained {counted(epochs, 'epoch')} on train and val")
    with link.timed(TESTING):
        scores = final.task.evaluate_fully(trainer.scorer(Split.TEST), Split.TEST)
        first = _describe_first(trainer) if seed == 0 else None
        trainer.close()
    return SeedResult(scores=scores, first=first)


def _describe_first(trainer: Trainer) -> FirstModel:
    trainer.model.followed = trainer.find_followed(TRAIN_ON)
    return FirstModel(
        relevance=trainer.mean_relevance(TRAIN_ON),
        model=trainer.model.cpu(),
        config=trainer.config,
        backbone=trainer.backbone,
    )
