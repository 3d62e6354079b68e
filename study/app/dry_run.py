"""Output of --dry-run: the resolved study, its search space, and whether its data exist."""

from collections.abc import Mapping

from pan_model.data.folder.reader import UNLABELLED
from pan_model.images.preprocessing import Preprocessing
from search_spaces import SearchSpace
from study.config.dataset_plan import DatasetPlan
from study.config.space_description import describe_space
from study.config.study_config import StudyConfig
from study.trials.first_trials import FirstTrials


def describe_plan(config: StudyConfig, first_trials: Mapping[str, FirstTrials] | None = None) -> list[str]:
    """Return lines that describe a study. Only its flags are used; the data are not read.

    Args:
        config: The study.
        first_trials: The first trials of --try and --warm-start, by dataset.
    """
    lines = [
        f"study {config.study_name} in {config.results.root}, seed {config.seed}",
        f"sampler {config.sampler}, scheduler {config.scheduler}, reduction factor {config.reduction_factor:g}, "
        f"regime {config.regime}, CPUs a trial {config.cpus_per_trial}, GPUs a trial "
        f"{'an even share' if config.gpus_per_trial is None else f'{config.gpus_per_trial:g}'}",
        f"features are cached in {config.cache_dir}",
    ]
    for plan in config.plans:
        given = [f"  {line}" for line in (first_trials or {}).get(plan.dataset, FirstTrials()).lines()]
        lines += ["", *_describe_dataset(config, plan), *given, *describe_space(plan.space)]
    return lines


def _describe_dataset(config: StudyConfig, plan: DatasetPlan) -> list[str]:
    row, place = plan.row, plan.row.find_place(config.data_root)
    missing = "will be drawn there" if row.drawn else "not there: a run would stop here"
    return [
        f"{plan.dataset}: {plan.num_trials} trials of at most {plan.max_epochs} epochs, "
        f"stopped at {plan.grace_epochs} at the earliest, for {row.task.objective.name} ({row.task.objective.mode})",
        f"  data {place.folder}: {'found' if place.folder.is_dir() else missing}",
        *([] if plan.labelled else [f"  {UNLABELLED}"]),
        *_describe_options(plan),
        f"  backbone {plan.features.backbone}, weights {plan.features.weights}, {plan.features.image_size} px, "
        f"pooling {plan.features.pooling}",
        f"  {_describe_preprocessing(plan.features.transform)}",
        *_describe_training(plan),
        *_describe_encoders(plan.space),
    ]


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
    return [] if training is None else [f"  backbone trained before by {training.kind}, {training.epochs} epochs"]


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
