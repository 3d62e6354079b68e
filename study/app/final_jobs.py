"""The jobs of a final training: the baseline paper_setting in two parts, a job for each seed, the untrained baselines.

Each job evaluates its model on the test split as soon as it is trained, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch

from pan_model.backbones.architectures import Backbone
from pan_model.command_line import counted
from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.model.pan import Pan
from pan_model.scores import QuestionScores
from pan_model.scoring.baselines.untrained import NORMALISED, normalised_baseline, untrained_baselines
from pan_model.scoring.pan_scorer import pan_scorer
from pan_model.tasks.task import Task
from pan_model.training.trainer import Trainer
from search_spaces import SPACES
from study.app.processes.jobs import Job, Link
from study.app.processes.side_by_side import run_jobs
from study.app.processes.worker_process import Worker
from study.config.choices import Regime
from study.config.final_config import NONE, FinalConfig
from study.nodes.resources import usable_cpus
from study.terminal import Terminal, duration
from study.trials.paper_setting import ChosenEpochs, choose_epochs, train_on_train_and_val
from study.trials.preparation import PreparedDataset

PAPER_SETTING = "paper_setting"
CHOOSE_EPOCHS = "baseline paper_setting (number of epochs)"
TRAIN_PAPER = "baseline paper_setting"
UNTRAINED = "baselines without training"
PAN_SEEDS = "PAN"
TESTING = "testing"
"""Parts of the time that a final training takes, and names of jobs."""

TRAIN_ON = (Split.TRAIN, Split.VAL)


@dataclass(frozen=True, kw_only=True)
class FinalInput:
    """What all jobs of a final training share.

    Attributes:
        best: The content of best_config.json.
        prepared: The dataset with its features.
        config: The flags.
    """

    best: dict[str, Any]
    prepared: PreparedDataset
    config: FinalConfig

    @cached_property
    def trial(self) -> TrialConfig:
        """The configuration to train."""
        return TrialConfig.from_flat(self.best["config"])

    @cached_property
    def task(self) -> Task:
        """The task, with training on train + val; all jobs of a process share its questions."""
        return self.prepared.row.make_task(self.prepared.featured, seed=self.trial.train.seed, train_on=TRAIN_ON)


@dataclass(frozen=True, kw_only=True)
class PaperResult:
    """The baseline paper_setting: its configuration, numbers of epochs and scores on the test split."""

    config: dict[str, Any]
    epochs: ChosenEpochs
    scores: QuestionScores


@dataclass(frozen=True, kw_only=True)
class FirstModel:
    """The model of the first seed, which is written.

    Attributes:
        model: The model, on the CPU.
        config: Its configuration.
        backbone: The backbone, if it was trained with the model.
        relevance: The mean relevance of each condition over pairs of training images.
        normalised: The scores of the baseline on normalised features, if it is one of those to compare with.
    """

    model: Pan
    config: TrialConfig
    backbone: Backbone | None
    relevance: dict[str, float]
    normalised: QuestionScores | None


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
        paper: The baseline paper_setting, if it was trained.
        times_s: Seconds of each part, added up over the processes.
        num_processes: The number of processes that worked at the same time.
    """

    seeds: list[QuestionScores]
    first: FirstModel
    baselines: dict[str, QuestionScores]
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
        UserError: If the cache cannot be written, or a process was killed.
    """
    config, names = final.config, final.config.baseline_names
    jobs = [Job(name=_seed_name(seed), run=partial(train_seed, seed=seed)) for seed in range(config.seeds)]
    if PAPER_SETTING in names:
        jobs = [
            Job(name=CHOOSE_EPOCHS, run=choose_paper_epochs),
            *jobs,
            Job(name=TRAIN_PAPER, run=train_paper, follows=CHOOSE_EPOCHS),
        ]
    if set(names) - {PAPER_SETTING, NORMALISED}:
        jobs.append(Job(name=UNTRAINED, run=score_untrained))
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
    scores: dict[str, QuestionScores] = dict(ended[UNTRAINED].result) if UNTRAINED in ended else {}
    if first.normalised is not None:
        scores[NORMALISED] = first.normalised
    if paper is not None:
        scores[PAPER_SETTING] = paper.scores
    parts = {TRAIN_PAPER: TRAIN_PAPER, PAN_SEEDS: f"PAN ({counted(config.seeds, 'seed')})", TESTING: TESTING}
    spent = {part: [job.times_s[part] for job in ended.values() if part in job.times_s] for part in parts}
    return FinalResults(
        seeds=[result.scores for result in results],
        first=first,
        baselines={name: scores[name] for name in names},
        paper=paper,
        times_s={parts[part]: sum(times_s) for part, times_s in spent.items() if times_s},
        num_processes=max(1, len(workers)),
    )


def _seed_name(seed: int) -> str:
    return f"seed {seed}"


def choose_paper_epochs(final: FinalInput, link: Link) -> ChosenEpochs:
    """Choose the number of epochs of paper_setting on val."""
    others = [name for name in final.config.baseline_names if name != PAPER_SETTING] or [NONE]
    space = SPACES[final.prepared.dataset]

    def announce(epochs: int, epoch_s: float) -> None:
        link.say(
            f"baseline {PAPER_SETTING}: up to {counted(epochs, 'epoch')} of all pairs, of which the best on val is "
            f"chosen, at most about {duration(epochs * epoch_s)}; then as many on train and val; leave it out with "
            f"--baselines {' '.join(others)}"
        )

    with link.timed(TRAIN_PAPER):
        return choose_epochs(
            final.prepared,
            space.paper_setting,
            paper_epochs=space.paper_epochs,
            cache_dir=final.config.cache_dir,
            show=link.show,
            announce=announce,
            improved=link.announce,
        )


def train_paper(final: FinalInput, link: Link) -> PaperResult:
    """Train paper_setting on train + val for the chosen number of epochs, and test it."""
    with link.timed(TRAIN_PAPER):
        paper = train_on_train_and_val(
            final.prepared,
            SPACES[final.prepared.dataset].paper_setting,
            link.followed(),
            cache_dir=final.config.cache_dir,
            show=link.show,
        )
    link.say(f"baseline paper_setting: trained {counted(paper.epoch, 'epoch')} on train and val")
    with link.timed(TESTING):
        scores = final.task.evaluate_fully(pan_scorer(paper.model, final.task, Split.TEST, paper.device), Split.TEST)
    return PaperResult(config=paper.config.to_flat(), epochs=ChosenEpochs(paper.epoch, paper.max_epochs), scores=scores)


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
        first = _describe_first(final, trainer) if seed == 0 else None
        trainer.close()
    return SeedResult(scores=scores, first=first)


def _describe_first(final: FinalInput, trainer: Trainer) -> FirstModel:
    task, normalised = final.task, None
    if NORMALISED in final.config.baseline_names:
        scorer = normalised_baseline(task, Split.TEST, trainer.normalised_features(Split.TEST))
        normalised = task.evaluate_fully(scorer, Split.TEST)
    trainer.model.followed = trainer.find_followed(TRAIN_ON)
    return FirstModel(
        relevance=trainer.mean_relevance(TRAIN_ON),
        normalised=normalised,
        model=trainer.model.cpu(),
        config=trainer.config,
        backbone=trainer.backbone,
    )


def score_untrained(final: FinalInput, link: Link) -> dict[str, QuestionScores]:
    """Test the baselines on features as extracted."""
    link.show(lambda: f"{UNTRAINED}: {TESTING}")
    scorers = untrained_baselines(final.task)
    with link.timed(TESTING):
        return {
            name: final.task.evaluate_fully(scorer, Split.TEST)
            for name, scorer in scorers.items()
            if name in final.config.baseline_names
        }
