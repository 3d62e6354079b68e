"""Output of --dry-run: the resolved study, its search space, and whether its data exist."""

from collections.abc import Mapping

import numpy as np

from pan_model.command_line import counted
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.folder.reader import UNLABELLED
from pan_model.errors import UserError
from pan_model.images.preprocessing import Preprocessing
from pan_model.model.precision import Precision
from search_spaces import SearchSpace
from study.config.choices import Scheduler
from study.config.dataset_plan import DatasetPlan
from study.config.space_description import describe_space
from study.config.study_config import StudyConfig
from study.trials.first_trials import FirstTrials
from study.trials.selection.confirmation import count_most_runs
from study.tuning.stopping.paired import MIN_FINISHED
from study.tuning.stopping.top_k import comparable_k


def describe_plan(config: StudyConfig, first_trials: Mapping[str, FirstTrials] | None = None) -> list[str]:
    """Return lines that describe a study. Of the data only the lists and labels are read, no image.

    Args:
        config: The study.
        first_trials: The first trials of --try and --warm-start, by dataset.
    """
    lines = [
        f"study {config.study_name} in {config.results.root}, seed {config.seed}",
        f"sampler {config.chosen_sampler}, scheduler {config.scheduler}, reduction factor {config.reduction_factor:g}, "
        f"regime {config.regime}, CPUs a trial {config.cpus_per_trial}, GPUs a trial "
        f"{'an even share' if config.gpus_per_trial is None else f'{config.gpus_per_trial:g}'}",
        *([] if config.precision is Precision.FLOAT32 else [f"products over pairs in {config.precision}"]),
        f"features are cached in {config.cache_dir}",
    ]
    for plan in config.plans:
        given = (first_trials or {}).get(plan.dataset, FirstTrials())
        room = max(0, plan.num_trials - len(given.trials))
        lines += ["", *_describe_dataset(config, plan)]
        lines += [*(f"  {line}" for line in given.lines()), *describe_space(plan.space, room)]
    return lines


def _describe_dataset(config: StudyConfig, plan: DatasetPlan) -> list[str]:
    row, place = plan.row, plan.row.find_place(config.data_root)
    return [
        f"{plan.dataset}: {counted(plan.num_trials, 'trial')} of at most {counted(plan.max_epochs, 'epoch')}, "
        f"{_describe_stopping(config, plan)}, for {row.task.objective.name} ({row.task.objective.mode})",
        f"  data {place.folder}: {_describe_data(config, plan)}",
        *([] if plan.labelled else [f"  {UNLABELLED}"]),
        *_describe_options(plan),
        f"  backbone {plan.features.backbone}, weights {plan.features.weights}, {plan.features.image_size} px, "
        f"pooling {plan.features.pooling}",
        f"  {_describe_preprocessing(plan.features.transform)}",
        *_describe_training(plan),
        *_describe_encoders(plan.space),
        *_describe_confirmation(config, plan),
    ]


def _describe_confirmation(config: StudyConfig, plan: DatasetPlan) -> list[str]:
    """Describe the confirmation, and what it costs at most."""
    runs = count_most_runs(config.num_confirmed, plan.num_trials, len(plan.space.first_trials))
    if not runs:
        return ["  the best trial on val is not confirmed (--confirm 0)"]
    return [
        f"  confirmation: the best trials on val, and first trials that may be as good, are trained from other seeds "
        f"and judged once on fresh questions: at most {runs} runs of as many epochs as each trial's best, at most "
        f"{counted(runs * plan.max_epochs, 'epoch')}"
    ]


def _describe_stopping(config: StudyConfig, plan: DatasetPlan) -> str:
    """Return when trials may be stopped."""
    match config.scheduler:
        case Scheduler.ASHA:
            return f"stopped at {plan.grace_epochs} at the earliest"
        case Scheduler.PAIRED:
            return f"stopped after {counted(MIN_FINISHED, 'completed trial')} at the earliest"
        case Scheduler.TOP_K:
            k = comparable_k(plan.num_trials, plan.max_epochs, plan.grace_epochs, config.reduction_factor)
            return f"stopped after one unless among the best {k} so far"
        case Scheduler.NONE:
            return "none stopped early"


def _describe_data(config: StudyConfig, plan: DatasetPlan) -> str:
    """Return whether the data are there and can be read, as far as that shows without opening an image."""
    row = plan.row
    if not row.find_place(config.data_root).folder.is_dir():
        return "will be drawn there" if row.drawn else "not there: a run would stop here"
    try:
        items = row.read_from(config.data_root, plan.options)
        splits = row.split(items)
        without_features = np.empty((len(items), 0), dtype=np.float32)
        row.make_task(FeaturedItems.join(items, without_features, splits), seed=config.seed)
    except UserError as error:
        return f"a run would stop here: {error}"
    return f"found, {', '.join(f'{len(indices)} {split}' for split, indices in splits.items())} images"


def _describe_preprocessing(preprocessing: Preprocessing) -> str:
    if preprocessing.is_usual:
        return "preprocessing usual for ImageNet"
    numbers = {"mean": preprocessing.mean, "std": preprocessing.std}
    normalised = ", ".join(f"{name} {' '.join(f'{value:g}' for value in values)}" for name, values in numbers.items())
    return (
        f"preprocessing {preprocessing.interpolation} to {preprocessing.resize_size} px, "
        f"crop {preprocessing.crop_mode}, {normalised}"
    )


def _describe_training(plan: DatasetPlan) -> list[str]:
    training = plan.backbone_training
    return (
        []
        if training is None
        else [f"  backbone trained before by {training.kind}, {counted(training.epochs, 'epoch')}"]
    )


def _describe_options(plan: DatasetPlan) -> list[str]:
    options = plan.options.to_json(plan.row.options)
    lines = [f"  {name.replace('_', ' ')} {value}" for name, value in options.items()]
    words = plan.options.attribute_words
    if words is not None and not words.is_file():
        lines[-1] += ": not there: a run would stop here"
    return lines


def _describe_encoders(space: SearchSpace) -> list[str]:
    """Describe which encoders are searched, which are off, and why others are not supported."""
    searched = f"  encoders searched: {', '.join(space.encoders)}"
    off = f"; off: {', '.join(space.more_encoders)}, see --encoders" if space.more_encoders else ""
    return [searched + off, *(f"  no encoder {name}: {why}" for name, why in space.unsupported.items())]
