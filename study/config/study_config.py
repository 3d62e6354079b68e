"""The configuration of a study: the checked flags of study/run.py."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from pan_model.backbones.config import Pooling, WeightsSource
from pan_model.data.polyvore.reader import PolyvoreSplit
from pan_model.data.splits import TaskName, ValQuestions
from pan_model.datasets import DATASETS, OPTIONS, ReaderOptions, find_dataset
from pan_model.errors import UserError
from pan_model.model.encoders import ENCODERS
from pan_model.model.precision import Precision
from pan_model.training.backbone.config import BackboneTraining, BackboneTrainingConfig, default_training
from study.config.choices import Executor, PreprocessingChoice, Regime, Sampler, Scheduler
from study.config.dataset_plan import DatasetPlan, choose_features
from study.config.flags import (
    Group,
    Signed,
    flag,
    flags_of,
    read_duration,
    read_folder,
    read_location,
)
from study.config.restrictions import Kind, SpaceChoice, choose_by_flags
from study.config.search_space import check_restrictions, choose_space, full_space
from study.config.value_rules import LARGEST, check_at_least, check_cache_outside
from study.storage.location import Location
from study.storage.paths import StudyPaths

DEFAULT_CACHE = user_cache_path("pan-study")
"""Default of --cache-dir: a folder in the user's cache folder."""

DEFAULT_SAMPLER = Sampler.PRIOR
"""Default of --sampler."""

DEFAULT_GRACE_EPOCHS = 1
"""Default of --grace-epochs."""

DEFAULT_CONFIRM = 3
"""Default of --confirm: the number of trials of each dataset that are confirmed."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """The flags of study/run.py. The value None is a default that depends on the dataset or the machine."""

    datasets: tuple[str, ...] = flag(
        ("demo",),
        str,
        "NAME",
        f"{', '.join(f'`{name}`' for name in DATASETS)}; several share one study",
        name="dataset",
        group=Group.STUDY,
        many=True,
        signed=Signed.DATASET,
    )
    data_root: Path = flag(
        Path("data"),
        read_folder,
        "DIR",
        "folder that holds the datasets' folders; the demo is drawn there",
        group=Group.STUDY,
        environment="PAN_STUDY_DATA_ROOT",
    )
    output: Location = flag(
        Path("results"),
        read_location,
        "DIR",
        "results go to DIR/NAME; DIR may be `s3://bucket/prefix`",
        group=Group.STUDY,
        environment="PAN_STUDY_OUTPUT",
    )
    name: str | None = flag(
        None,
        str,
        "NAME",
        "name of the study",
        group=Group.STUDY,
        default_text="the datasets joined by `-`",
    )
    cache_dir: Path = flag(
        DEFAULT_CACHE,
        read_folder,
        "DIR",
        "cache of features, decoded images, trained backbones and the `paper_setting` baseline; entries are named by a "
        "hash of what they depend on; must lie outside output and data",
        group=Group.STUDY,
        default_text="`pan-study` in the user's cache folder",
        environment="PAN_STUDY_CACHE_DIR",
    )
    resume: bool = flag(
        False,
        bool,
        "",
        "resume the study of that name",
        group=Group.STUDY,
        default_text="off: an existing study is an error",
    )
    dry_run: bool = flag(False, bool, "", "print the study and its search space, start nothing", group=Group.STUDY)
    skip_bad_images: bool = flag(
        False,
        bool,
        "",
        "leave unreadable images out; they are counted and listed",
        group=Group.STUDY,
        default_text="off: an error",
        signed=Signed.STUDY,
    )
    task: TaskName | None = flag(
        None,
        TaskName,
        "|".join(TaskName),
        f"{', '.join(f'`{name}`' for name, row in DATASETS.items() if row.other_tasks)}: what is learned and measured",
        group=Group.STUDY,
        default_text="`few-shot`; inshop `retrieval`",
        signed=Signed.DATASET,
    )
    polyvore_split: PolyvoreSplit | None = flag(
        None,
        PolyvoreSplit,
        "|".join(PolyvoreSplit),
        "`polyvore`: version of the dataset",
        group=Group.STUDY,
        default_text="`nondisjoint`",
        signed=Signed.DATASET,
    )
    attribute_words: Path | None = flag(
        None,
        Path,
        "FILE",
        "`polyvore`: words that are its attributes, one per line",
        group=Group.STUDY,
        default_text="those of most training items",
        signed=Signed.CONTENT,
    )
    backbone: str | None = flag(
        None,
        str,
        "NAME",
        "any classification model of torchvision, or `timm:NAME`, a model of timm such as `timm:vit_tiny_patch16_224`",
        group=Group.BACKBONE,
        default_text="`resnet50`; demo `resnet18`",
        signed=Signed.DATASET,
    )
    weights: str | None = flag(
        None,
        str,
        "W",
        "`imagenet` (of timm's models the pretrained weights), `random`, or a state-dict file",
        group=Group.BACKBONE,
        default_text="`imagenet`; demo `random`",
        signed=Signed.CONTENT,
    )
    image_size: int | None = flag(
        None,
        int,
        "PX",
        "side of the square images that the backbone takes",
        group=Group.BACKBONE,
        default_text="224; demo 64; the model's own for timm and for torchvision's weights of another size",
        signed=Signed.DATASET,
    )
    preprocessing: PreprocessingChoice | None = flag(
        None,
        PreprocessingChoice,
        "|".join(PreprocessingChoice),
        "how images are resized, cropped and normalised: `own` as the published weights are evaluated, `imagenet` as "
        "usual for ImageNet",
        group=Group.BACKBONE,
        default_text="`own`; `imagenet` for `--weights random` of torchvision; a resumed study keeps its choice",
        signed=Signed.DATASET,
    )
    pooling: Pooling = flag(
        Pooling.AVG,
        Pooling,
        "|".join(Pooling),
        "how each feature is pooled over the map: `avg` as the model does, `max` as in ProxyNCA++; an error for models "
        "without a map, as most vision transformers",
        group=Group.BACKBONE,
        signed=Signed.DATASET,
    )
    regime: Regime = flag(
        Regime.FROZEN,
        Regime,
        "|".join(Regime),
        "`frozen`: features are extracted once and shared; `finetune`: each trial trains the backbone as well",
        group=Group.BACKBONE,
        signed=Signed.STUDY,
    )
    backbone_training: BackboneTraining = flag(
        BackboneTraining.NONE,
        BackboneTraining,
        "|".join(BackboneTraining),
        "train the backbone once on the training split, before the search: with triplets or as ProxyNCA++",
        group=Group.BACKBONE,
        signed=Signed.DATASET,
    )
    backbone_epochs: int | None = flag(
        None,
        int,
        "E",
        "epochs of `--backbone-training`",
        group=Group.BACKBONE,
        default_text="siamese 200, proxynca 50",
        signed=Signed.DATASET,
    )
    data_workers: int | None = flag(
        None,
        int,
        "N",
        "processes that load images where a backbone is trained",
        group=Group.BACKBONE,
        default_text="with a GPU: CPUs - 1 (in a trial: `--cpus-per-trial` - 1), at most 8; without: 0",
    )
    num_trials: int | None = flag(
        None, int, "N", "trials for each dataset", group=Group.SEARCH, default_text="demo 16, others 64"
    )
    max_epochs: int | None = flag(
        None,
        int,
        "E",
        "epochs of a full trial; with `--resume` more than before: completed trials continue",
        group=Group.SEARCH,
        default_text="demo 9, others 20; with `--resume` as before",
        signed=Signed.DATASET,
    )
    time_budget_s: float | None = flag(
        None,
        read_duration,
        "T",
        "stop after this time, such as `90s`, `30m`, `2h`; `--resume` runs what is missing",
        name="time-budget",
        group=Group.SEARCH,
        default_text="no limit",
    )
    max_gpu_hours: float | None = flag(
        None,
        float,
        "H",
        "stop after H GPU-hours of the cluster, counted for every GPU that is up, idle or not",
        group=Group.SEARCH,
        default_text="no limit",
    )
    encoders: tuple[str, ...] | None = flag(
        None,
        str,
        "NAME",
        f"encoders to search, of {', '.join(f'`{name}`' for name in ENCODERS)}; a dataset may not support all, "
        "`--dry-run` shows why",
        group=Group.SEARCH,
        default_text="`siamese`, `proxynca`; polyvore `siamese`, `graph`",
        many=True,
        signed=Signed.DATASET,
    )
    try_file: Path | None = flag(
        None,
        Path,
        "FILE",
        "configurations to try first, complete or not: TOML, JSON or a `best_config.json`",
        name="try",
        group=Group.SEARCH,
        default_text="none",
    )
    warm_start: Location | None = flag(
        None,
        read_location,
        "DIR",
        "results of another study whose 3 best completed configurations are tried next",
        group=Group.SEARCH,
        default_text="none",
    )
    fix: tuple[str, ...] = flag(
        (),
        str,
        "NAME=VALUE",
        "search with one value of a parameter; may be given again",
        group=Group.SEARCH,
        default_text="none",
        many=True,
        repeated=True,
        signed=Signed.DATASET,
    )
    ranges: tuple[str, ...] = flag(
        (),
        str,
        "NAME=LOW:HIGH",
        "search this range of a parameter; may be given again",
        name="range",
        group=Group.SEARCH,
        default_text="those that `--dry-run` shows",
        many=True,
        repeated=True,
        signed=Signed.DATASET,
    )
    choices: tuple[str, ...] = flag(
        (),
        str,
        "NAME=VALUE,VALUE",
        "search these values of a parameter; may be given again",
        group=Group.SEARCH,
        default_text="those that `--dry-run` shows",
        many=True,
        repeated=True,
        signed=Signed.DATASET,
    )
    val_questions: ValQuestions | None = flag(
        None,
        ValQuestions,
        "|".join(ValQuestions),
        "which questions few-shot and retrieval ask on val: `full` as in earlier releases, `reduced` with at most a "
        "third of the pairs, or with each pair of a small gallery in both directions",
        group=Group.SEARCH,
        default_text="`reduced`; a resumed study keeps its choice",
        signed=Signed.DATASET,
    )
    precision: Precision = flag(
        Precision.FLOAT32,
        Precision,
        "|".join(Precision),
        "type that matrix products over pairs take, in training and scoring: `bfloat16` is faster on CPUs and GPUs "
        "with instructions for it, and less exact",
        group=Group.SEARCH,
        signed=Signed.STUDY,
    )
    sampler: Sampler | None = flag(
        None,
        Sampler,
        "|".join(Sampler),
        "how trials are suggested: `tpe` and `tpe-grouped` model the trials so far, `prior` mixes TPE with draws "
        "around the first trials and the best so far, `random` does not learn",
        group=Group.SEARCH,
        default_text=f"`{DEFAULT_SAMPLER}`; a resumed study keeps its choice",
        signed=Signed.STUDY,
    )
    scheduler: Scheduler = flag(
        Scheduler.ASHA,
        Scheduler,
        "|".join(Scheduler),
        "`asha` stops weak trials at its rungs, `paired` those too far behind the best one on the same questions, "
        "`top-k` all but the best after one epoch, `none` stops none",
        group=Group.SEARCH,
        signed=Signed.STUDY,
    )
    grace_epochs: int | None = flag(
        None,
        int,
        "E",
        "epochs before ASHA may stop a trial; `top-k` spends as many epochs as ASHA would",
        group=Group.SEARCH,
        default_text=f"{DEFAULT_GRACE_EPOCHS}; a resumed study keeps its choice",
        signed=Signed.DATASET,
    )
    reduction_factor: float = flag(
        3.0,
        float,
        "F",
        "at each of ASHA's decision epochs (rungs) the best 1/F of the trials continue",
        group=Group.SEARCH,
        signed=Signed.STUDY,
    )
    confirm: int | None = flag(
        None,
        int,
        "K",
        "when the trials have ended, train K of them again: the best on val and those with the largest expected "
        "improvement over it, and first trials that may be as good. Each has 3 other seeds and other held-out classes, "
        "and is judged once on fresh questions; the best there wins. 0: the best on val wins",
        group=Group.SEARCH,
        default_text="3; a resumed study keeps its choice",
    )
    seed: int = flag(0, int, "S", "seed of the study and of every trial", group=Group.SEARCH, signed=Signed.STUDY)
    cpus_per_trial: int = flag(1, int, "N", "CPU cores and threads of a trial", group=Group.RESOURCES)
    gpus_per_trial: float | None = flag(
        None,
        float,
        "F",
        "a part of one GPU, or whole GPUs; 0.25 puts four trials on one",
        group=Group.RESOURCES,
        default_text="an equal share, no smaller than the measured need of a trial",
    )
    max_concurrent: int | None = flag(
        None, int, "N", "trials that run at the same time", group=Group.RESOURCES, default_text="all slots"
    )
    max_failures: int = flag(
        2,
        int,
        "N",
        "how many times a trial restarts after its worker process died; a lost node does not count",
        group=Group.RESOURCES,
    )
    executor: Executor = flag(
        Executor.RAY,
        Executor,
        "|".join(Executor),
        "`serial`: run trials one after another in this process, without Ray; for debugging and tests",
        group=Group.RESOURCES,
    )
    ray_address: str | None = flag(
        None,
        str,
        "ADDRESS",
        "HOST:PORT or `auto`: a running Ray cluster; `local`: start Ray on this machine",
        group=Group.RESOURCES,
        default_text="`RAY_ADDRESS`; on the head node of `ray up` its cluster; else `local`",
    )

    def __post_init__(self) -> None:
        if not self.datasets:
            raise UserError("dataset must name at least one dataset.")
        for dataset in self.datasets:
            find_dataset(dataset)  # before the rules on names: a path has a message of its own
        if len(set(self.datasets)) != len(self.datasets):
            raise UserError(f"dataset must name each dataset once, got {' '.join(self.datasets)}.")
        if self.encoders is not None and len(set(self.encoders)) != len(self.encoders):
            raise UserError(f"encoders must name each encoder once, got {' '.join(self.encoders)}.")
        check_at_least(1, cpus_per_trial=self.cpus_per_trial, max_concurrent=self.max_concurrent)
        check_at_least(1, backbone_epochs=self.backbone_epochs)
        check_at_least(0, gpus_per_trial=self.gpus_per_trial, max_failures=self.max_failures, seed=self.seed)
        check_at_least(0, data_workers=self.data_workers, confirm=self.confirm)
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
        check_cache_outside(self.cache_dir, output=self.output, data_root=self.data_root)
        for dataset in self.datasets:
            self._plan(dataset)  # raises UserError if a rule of the dataset is broken
        check_restrictions(
            self._space.restrictions,
            {plan.dataset: plan.space for plan in self.plans},
            {dataset: full_space(dataset, self.regime) for dataset in self.datasets},
        )
        self._check_options()

    @property
    def study_name(self) -> str:
        """The given name, or the names of the datasets."""
        return "-".join(self.datasets) if self.name is None else self.name

    @property
    def chosen_sampler(self) -> Sampler:
        """How parameters are suggested."""
        return DEFAULT_SAMPLER if self.sampler is None else self.sampler

    @property
    def num_confirmed(self) -> int:
        """The number of trials of each dataset that are confirmed."""
        return DEFAULT_CONFIRM if self.confirm is None else self.confirm

    @property
    def results(self) -> StudyPaths:
        """The paths of the study's files."""
        return StudyPaths(self.output / self.study_name)

    @property
    def plans(self) -> tuple[DatasetPlan, ...]:
        """The plan of each dataset, in the given order."""
        return tuple(self._plan(dataset) for dataset in self.datasets)

    def signed(self) -> dict[str, Any]:
        """Return the signed content of a study, except the entries that depend on the data."""
        flags = flags_of(StudyConfig)
        options = [name for name in OPTIONS if flags[name].signed is Signed.DATASET]
        of_study = {name: getattr(self, name) for name, flag in flags.items() if flag.signed is Signed.STUDY}
        of_study["sampler"] = self.chosen_sampler
        if self.precision is Precision.FLOAT32:  # as in studies of releases without the choice
            del of_study["precision"]
        return {
            **of_study,
            "datasets": {plan.dataset: plan.signed(options) for plan in self.plans},
        }

    def to_json(self) -> dict[str, Any]:
        """Return the value of every flag, for study.json."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: str(value) if isinstance(value, Location) else value for name, value in values.items()}

    def _plan(self, dataset: str) -> DatasetPlan:
        row = find_dataset(dataset)
        options = self._options_of(dataset)
        labelled = row.is_labelled(row.find_place(self.data_root).folder)
        chosen = self._space
        space = choose_space(
            dataset, chosen.encoders, self.regime, chosen.restrictions, task=options.task, labelled=labelled
        )
        max_epochs = space.max_epochs if self.max_epochs is None else self.max_epochs
        check_at_least(1, max_epochs=max_epochs)
        weights = row.weights if self.weights is None else self.weights
        return DatasetPlan(
            dataset=dataset,
            num_trials=space.num_trials if self.num_trials is None else self.num_trials,
            max_epochs=max_epochs,
            grace_epochs=DEFAULT_GRACE_EPOCHS if self.grace_epochs is None else self.grace_epochs,
            features=choose_features(
                row,
                backbone=self.backbone,
                weights=weights,
                image_size=self.image_size,
                preprocessing=self.preprocessing,
                pooling=self.pooling,
            ),
            space=space,
            options=options,
            backbone_training=self._backbone_training(from_random=weights == WeightsSource.RANDOM),
            labelled=labelled,
        )

    @property
    def _space(self) -> SpaceChoice:
        """The encoders and the restrictions of the other parameters."""
        return choose_by_flags(self.encoders, {Kind.FIX: self.fix, Kind.RANGE: self.ranges, Kind.CHOICES: self.choices})

    def _backbone_training(self, *, from_random: bool) -> BackboneTrainingConfig | None:
        if self.backbone_training is BackboneTraining.NONE:
            return None
        return default_training(
            self.backbone_training, epochs=self.backbone_epochs, from_random=from_random, seed=self.seed
        )

    def _options_of(self, dataset: str) -> ReaderOptions:
        """Return the options of a dataset that were given; its default task is None."""
        row = find_dataset(dataset)
        given = {name: value for name, value in self._options().items() if name in row.options}
        if "task" in given:
            find_dataset(dataset, given["task"])  # raises UserError if the dataset does not have the task
            given["task"] = None if given["task"] == row.task_name else given["task"]
        return ReaderOptions(**given)

    def _options(self) -> dict[str, Any]:
        """Return the reader options that were given."""
        given = {name: getattr(self, name) for name in OPTIONS}
        return {name: value for name, value in given.items() if value is not None}

    def _check_options(self) -> None:
        supported = {name for dataset in self.datasets for name in find_dataset(dataset).options}
        for name in (name for name in self._options() if name not in supported):
            supporting = " or ".join(dataset for dataset, row in DATASETS.items() if name in row.options)
            got = " ".join(self.datasets)
            raise UserError(f"--{name.replace('_', '-')} needs {supporting} among --dataset, got {got}.")
