"""What a study is: everything that was asked for, with the defaults of each dataset filled in, and checked."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from pan_model.backbones.config import FeaturesConfig, Pooling, WeightsSource
from pan_model.data.polyvore.reader import PolyvoreSplit
from pan_model.datasets import DATASETS, OPTIONS, ReaderOptions, find_dataset
from pan_model.errors import UserError
from pan_model.training.backbone.config import BackboneTraining, BackboneTrainingConfig, default_training
from search_spaces import SPACES, SearchSpace
from study.config.choices import Executor, Regime, Sampler, Scheduler
from study.config.search_space import choose_space
from study.config.space_description import space_digest
from study.storage.location import Location, local_path
from study.storage.paths import StudyPaths

DEFAULT_CACHE = user_cache_path("pan-study")
"""The user's cache folder; features go there unless --cache-dir says otherwise."""

LARGEST = 10**9
"""No number of trials, epochs, cores or seeds is larger; it also keeps arithmetic on them exact."""

SIGNED_OPTIONS = {"polyvore_split"}
"""Options of readers that are part of a study's signature by name; of attribute words the fingerprint knows more."""


@dataclass(frozen=True, kw_only=True)
class DatasetPlan:
    """A study's part on one dataset, nothing left to default."""

    dataset: str
    num_trials: int
    max_epochs: int
    grace_epochs: int
    features: FeaturesConfig
    space: SearchSpace
    options: ReaderOptions = field(default_factory=ReaderOptions)
    backbone_training: BackboneTrainingConfig | None = None

    def __post_init__(self) -> None:
        _at_least(1, num_trials=self.num_trials, max_epochs=self.max_epochs, grace_epochs=self.grace_epochs)
        if self.grace_epochs > self.max_epochs:
            raise UserError(f"grace_epochs must be at most max_epochs, {self.max_epochs}, got {self.grace_epochs}.")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """The flags of study/run.py; None stands for a default that depends on the dataset or the machine."""

    datasets: tuple[str, ...] = ("demo",)
    data_root: Path = Path("data")
    output: Location = Path("results")
    name: str | None = None
    cache_dir: Path = DEFAULT_CACHE
    num_trials: int | None = None
    max_epochs: int | None = None
    time_budget_s: float | None = None
    max_gpu_hours: float | None = None
    backbone: str | None = None
    weights: str | None = None
    image_size: int | None = None
    pooling: Pooling = Pooling.AVG
    encoders: tuple[str, ...] | None = None
    regime: Regime = Regime.FROZEN
    backbone_training: BackboneTraining = BackboneTraining.NONE
    backbone_epochs: int | None = None
    data_workers: int | None = None
    skip_bad_images: bool = False
    polyvore_split: PolyvoreSplit | None = None
    attribute_words: Path | None = None
    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    max_failures: int = 2
    scheduler: Scheduler = Scheduler.ASHA
    sampler: Sampler = Sampler.TPE
    grace_epochs: int | None = None
    reduction_factor: float = 3.0
    seed: int = 0
    resume: bool = False
    dry_run: bool = False
    executor: Executor = Executor.RAY
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if not self.datasets:
            raise UserError("dataset must name at least one dataset.")
        if len(set(self.datasets)) != len(self.datasets):
            raise UserError(f"dataset must name each dataset once, got {' '.join(self.datasets)}.")
        if self.encoders is not None and len(set(self.encoders)) != len(self.encoders):
            raise UserError(f"encoders must name each encoder once, got {' '.join(self.encoders)}.")
        _at_least(1, cpus_per_trial=self.cpus_per_trial, max_concurrent=self.max_concurrent)
        _at_least(1, backbone_epochs=self.backbone_epochs)
        _at_least(0, gpus_per_trial=self.gpus_per_trial, max_failures=self.max_failures, seed=self.seed)
        _at_least(0, data_workers=self.data_workers)
        if self.backbone_epochs is not None and self.backbone_training is BackboneTraining.NONE:
            raise UserError("--backbone-epochs needs --backbone-training siamese or proxynca, got none.")
        if (self.gpus_per_trial or 0) > 1 and not float(self.gpus_per_trial or 0).is_integer():
            raise UserError(f"gpus_per_trial must be a part of one GPU or whole GPUs, got {self.gpus_per_trial}.")
        if self.max_gpu_hours is not None and not 0 < self.max_gpu_hours <= LARGEST:
            raise UserError(f"max_gpu_hours must be above 0 and at most {LARGEST}, got {self.max_gpu_hours}.")
        if not (math.isfinite(self.reduction_factor) and self.reduction_factor > 1):
            raise UserError(f"reduction_factor must be above 1, got {self.reduction_factor}.")
        if not self.study_name or self.study_name == ".." or Path(self.study_name).name != self.study_name:
            raise UserError(f"name must be a plain folder name, got '{self.study_name}'.")
        if self.executor is Executor.SERIAL and self.ray_address is not None:
            raise UserError(f"--ray-address needs --executor ray, got serial and '{self.ray_address}'; leave one out.")
        _check_cache_outside(self.cache_dir, output=self.output, data_root=self.data_root)
        for dataset in self.datasets:
            self._plan(dataset)  # checks the dataset's rules before anything starts
        self._check_options()

    @property
    def study_name(self) -> str:
        """The name given, or the datasets' names."""
        return "-".join(self.datasets) if self.name is None else self.name

    @property
    def results(self) -> StudyPaths:
        """Where the study's files go."""
        return StudyPaths(self.output / self.study_name)

    @property
    def plans(self) -> tuple[DatasetPlan, ...]:
        """The study's part on each dataset, in the order given."""
        return tuple(self._plan(dataset) for dataset in self.datasets)

    def signed(self) -> dict[str, Any]:
        """What must be the same for a study to be gone on with, less what only the data can tell."""
        return {
            "seed": self.seed,
            "regime": self.regime.value,
            "scheduler": self.scheduler.value,
            "sampler": self.sampler.value,
            "reduction_factor": self.reduction_factor,
            "skip_bad_images": self.skip_bad_images,
            "datasets": {plan.dataset: _signed_part(plan) for plan in self.plans},
        }

    def to_json(self) -> dict[str, Any]:
        """Every flag as it was resolved, for study.json."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: str(value) if isinstance(value, Location) else value for name, value in values.items()}

    def _plan(self, dataset: str) -> DatasetPlan:
        row = find_dataset(dataset)
        space = choose_space(dataset, self.encoders, self.regime)
        max_epochs = space.max_epochs if self.max_epochs is None else self.max_epochs
        _at_least(1, max_epochs=max_epochs)
        weights = row.weights if self.weights is None else self.weights
        return DatasetPlan(
            dataset=dataset,
            num_trials=space.num_trials if self.num_trials is None else self.num_trials,
            max_epochs=max_epochs,
            grace_epochs=math.ceil(max_epochs / 3) if self.grace_epochs is None else self.grace_epochs,
            features=FeaturesConfig(
                backbone=row.backbone if self.backbone is None else self.backbone,
                weights=weights,
                image_size=row.image_size if self.image_size is None else self.image_size,
                pooling=self.pooling,
            ),
            space=space,
            options=ReaderOptions(**{name: value for name, value in self._options().items() if name in row.options}),
            backbone_training=self._backbone_training(from_random=weights == WeightsSource.RANDOM),
        )

    def _backbone_training(self, *, from_random: bool) -> BackboneTrainingConfig | None:
        if self.backbone_training is BackboneTraining.NONE:
            return None
        return default_training(
            self.backbone_training, epochs=self.backbone_epochs, from_random=from_random, seed=self.seed
        )

    def _options(self) -> dict[str, Any]:
        """The reader's options that were given."""
        given = {name: getattr(self, name) for name in OPTIONS}
        return {name: value for name, value in given.items() if value is not None}

    def _check_options(self) -> None:
        heeded = {name for dataset in self.datasets for name in find_dataset(dataset).options}
        for name in (name for name in self._options() if name not in heeded):
            heeding = " or ".join(dataset for dataset, row in DATASETS.items() if name in row.options)
            got = " ".join(self.datasets)
            raise UserError(f"--{name.replace('_', '-')} needs {heeding} among --dataset, got {got}.")


@dataclass(frozen=True, kw_only=True)
class FinalConfig:
    """The flags of study/final.py; output is final/ beside the best_config.json unless given."""

    best_config: Location
    data_root: Path = Path("data")
    seeds: int = 5
    output: Location | None = None
    cache_dir: Path = DEFAULT_CACHE
    weights: str | None = None
    data_workers: int | None = None
    skip_bad_images: bool = False
    attribute_words: Path | None = None

    def __post_init__(self) -> None:
        _at_least(1, seeds=self.seeds)
        _at_least(0, data_workers=self.data_workers)
        _check_cache_outside(self.cache_dir, output=self.folder, data_root=self.data_root)

    @property
    def folder(self) -> Location:
        """Where the results go."""
        return self.best_config.parent / "final" if self.output is None else self.output


def _signed_part(plan: DatasetPlan) -> dict[str, Any]:
    """What is signed of a dataset; encoders only where the space is not its own, pooling and training where not usual.

    So studies that were begun before there was a choice can go on; the space, too, tells of its encoders.
    """
    signed: dict[str, Any] = {
        "max_epochs": plan.max_epochs,
        "grace_epochs": plan.grace_epochs,
        "backbone": plan.features.backbone,
        "image_size": plan.features.image_size,
        "space": space_digest(plan.space),
        **plan.options.to_json(set(find_dataset(plan.dataset).options) & SIGNED_OPTIONS),
    }
    if plan.space is not SPACES[plan.dataset]:
        signed["encoders"] = " ".join(plan.space.encoders)
    if plan.features.pooling is not Pooling.AVG:
        signed["pooling"] = plan.features.pooling.value
    if plan.backbone_training is not None:
        signed["backbone_training"] = {
            "kind": str(plan.backbone_training.kind),
            "epochs": plan.backbone_training.epochs,
        }
    return signed


def _at_least(least: int, **values: float | None) -> None:
    for name, value in values.items():
        if value is None:
            continue
        if not value >= least:
            raise UserError(f"{name} must be at least {least}, got {value}.")
        if value > LARGEST:
            raise UserError(f"{name} must be at most {LARGEST}, got a larger number.")


def _check_cache_outside(cache_dir: Path, **folders: Location) -> None:
    for flag, folder in folders.items():
        path = local_path(folder)
        if path is not None and cache_dir.resolve().is_relative_to(path.resolve()):
            raise UserError(f"cache_dir must lie outside {flag}, {folder}, got {cache_dir}.")
