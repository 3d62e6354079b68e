"""What --dry-run prints: the resolved study and its space, and whether its data are where they should be."""

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from pan_model.data.registry import find_dataset
from search_spaces import SPACES, SearchSpace
from study.config import DatasetPlan, StudyConfig

NUM_SUGGESTIONS = 512
"""Random suggestions from which it is read off when a parameter is asked for."""


def describe_plan(config: StudyConfig) -> list[str]:
    """The whole study in lines, from the flags alone; the data are not read."""
    lines = [
        f"study {config.study_name} in {config.results.root}, seed {config.seed}",
        f"sampler {config.sampler}, scheduler {config.scheduler}, reduction factor {config.reduction_factor:g}, "
        f"regime {config.regime}, CPUs a trial {config.cpus_per_trial}, GPUs a trial "
        f"{'an even share' if config.gpus_per_trial is None else f'{config.gpus_per_trial:g}'}",
        f"features are cached in {config.cache_dir}",
    ]
    for plan in config.plans:
        lines += ["", *_describe_dataset(config, plan), *describe_space(SPACES[plan.dataset])]
    return lines


def describe_space(space: SearchSpace) -> list[str]:
    """One line a parameter: its range, and when it is asked for; then the first trials."""
    trials = _suggest_at_random(space)
    seen: dict[str, BaseDistribution] = {}
    for trial in trials:
        seen |= trial.distributions
    lines = [f"  {name}: {_range(distribution)}{_when(name, trials, seen)}" for name, distribution in seen.items()]
    first = [", ".join(f"{key} {value}" for key, value in point.items()) for point in space.first_trials]
    return [*lines, *(f"  first trial {number}: {point}" for number, point in enumerate(first, 1))]


def _describe_dataset(config: StudyConfig, plan: DatasetPlan) -> list[str]:
    row = find_dataset(plan.dataset)
    folder = config.data_root / row.folder
    missing = "will be drawn there" if row.drawn else "not there: a run would stop here"
    return [
        f"{plan.dataset}: {plan.num_trials} trials of at most {plan.max_epochs} epochs, "
        f"stopped at {plan.grace_epochs} at the earliest, for {row.task.objective} ({row.task.mode})",
        f"  data {folder}: {'found' if folder.is_dir() else missing}",
        f"  backbone {plan.features.backbone}, weights {plan.features.weights}, {plan.features.image_size} px",
    ]


def _suggest_at_random(space: SearchSpace) -> list[optuna.trial.FrozenTrial]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    optuna.logging.set_verbosity(verbosity)
    for _ in range(NUM_SUGGESTIONS):
        space.suggest(study.ask())
    return study.get_trials(deepcopy=False)


def _range(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(str(choice) for choice in distribution.choices)
    low, high, log = (getattr(distribution, name) for name in ("low", "high", "log"))
    return f"{low:g} to {high:g}{', log' if log else ''}"


def _when(name: str, trials: list[optuna.trial.FrozenTrial], seen: dict[str, BaseDistribution]) -> str:
    """The choice of another parameter on which this one depends, if it does."""
    having = [trial.params for trial in trials if name in trial.params]
    lacking = [trial.params for trial in trials if name not in trial.params]
    for other, distribution in seen.items():
        if lacking and isinstance(distribution, CategoricalDistribution) and other != name:
            present = {params.get(other) for params in having}
            if present.isdisjoint(params.get(other) for params in lacking):
                return f" (when {other} is {' or '.join(sorted(map(str, present)))})"
    return ""
