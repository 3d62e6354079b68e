"""Preparation of a dataset for trials: read and check it, and extract its features."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.config import FeaturesConfig, WeightsSource
from pan_model.backbones.extraction import Extractor
from pan_model.backbones.features import LOCAL, Features, extract_features
from pan_model.backbones.weights import load_weights
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.fingerprint import read_contents
from pan_model.data.items import Items
from pan_model.data.splits import Split, ValQuestions
from pan_model.datasets import Dataset, ReaderOptions, find_dataset
from pan_model.errors import UserError
from pan_model.images.decoded_cache import load_decoded_images
from pan_model.shapes import Bool, Float
from pan_model.tasks.task import Task
from pan_model.training.backbone.config import BackboneTrainingConfig
from pan_model.training.backbone.images import TrainingImages
from pan_model.training.backbone.training import Stage, train_backbone
from pan_model.training.finetuning import FinetuneStart
from study.config.choices import Regime
from study.config.study_file import DatasetRecord
from study.terminal import Terminal, duration, show_work
from study.trials.data_cautions import find_data_cautions

Progress = Callable[["Work", int, int], None]
"""Called with the kind of work, the amount that is done and the total."""


class Work(StrEnum):
    """Kinds of work in the preparation of a dataset."""

    DECODING = "images decoded"
    TRAINING = "backbone training"
    EXTRACTING = "features extracted"


def _take_any(_fingerprint: str) -> None:
    """Accept any data."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How to prepare a dataset.

    Attributes:
        dataset: The name of the dataset.
        data_root: The parent of the dataset's folder.
        cache_dir: The cache of features, decoded images and trained backbones.
        features: The features to extract.
        options: How the data are read.
        regime: Whether trials train the backbone.
        backbone_training: How the backbone is trained before features are extracted; None if it is not trained.
        trained_backbone: The weights of an earlier training, which replace `backbone_training`.
        data_workers: Number of processes that load images for a training of the backbone.
        skip_bad_images: Whether unreadable images are left out.
        extractor: Computes the features that are not in the cache.
        check_fingerprint: Called with the fingerprint before any image is opened; raises UserError to reject the data.
    """

    dataset: str
    data_root: Path
    cache_dir: Path
    features: FeaturesConfig
    options: ReaderOptions = field(default_factory=ReaderOptions)
    regime: Regime = Regime.FROZEN
    backbone_training: BackboneTrainingConfig | None = None
    trained_backbone: Path | None = None
    data_workers: int = 0
    skip_bad_images: bool = False
    extractor: Extractor = LOCAL
    check_fingerprint: Callable[[str], None] = _take_any

    @property
    def row(self) -> Dataset:
        """The dataset, with the task of the options."""
        return find_dataset(self.dataset, self.options.task, self.options.val_questions)


@dataclass(frozen=True, kw_only=True)
class ItemImages:
    """The image files of N items, and the names of classes.

    Attributes:
        root: The folder that the files are relative to.
        files: The file of each item.
        class_names: The names of the classes.
    """

    root: Path
    files: tuple[str, ...]
    class_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedDataset:
    """A dataset that is ready for trials.

    Attributes:
        dataset: The name of the dataset.
        featured: The items with their features.
        fingerprint: The fingerprint of the data.
        features: The `features` of best_config.json.
        left_out: Number of items and questions left out, by reason.
        unreadable: Why each unreadable image could not be read.
        cautions: Reasons to doubt the data.
        from_cache: Whether the features were in the cache.
        options: The values of the options that the dataset's reader has.
        notes: What a user should know of how the dataset was read, one sentence each.
        start: The start of trials that train their backbone; None if they do not.
        trained_backbone: The weights of a backbone that was trained before the trials; None if none was.
        images: The image files of the items; None if features were not read from images.
    """

    dataset: str
    featured: FeaturedItems
    fingerprint: str
    features: dict[str, Any]
    left_out: dict[str, int]
    unreadable: dict[str, str]
    from_cache: bool
    options: dict[str, str] = field(default_factory=dict[str, str])
    cautions: list[str] = field(default_factory=list[str])
    notes: tuple[str, ...] = ()
    start: FinetuneStart | None = None
    trained_backbone: Path | None = None
    images: ItemImages | None = None

    @property
    def row(self) -> Dataset:
        """The dataset, with the task that it was prepared for."""
        return find_dataset(self.dataset, self.options.get("task"), self.val_questions)

    @property
    def val_questions(self) -> ValQuestions:
        """Which questions are asked on val; full also if the dataset has no choice."""
        return ReaderOptions.from_json(self.options).val_questions

    @property
    def record(self) -> DatasetRecord:
        """The record of the dataset in study.json."""
        return DatasetRecord(
            dataset=self.dataset,
            fingerprint=self.fingerprint,
            features=self.features,
            splits=self.split_sizes,
            left_out=self.left_out,
            unreadable=self.unreadable,
            options=self.options,
            cautions=self.cautions,
            notes=self.notes,
        )

    @property
    def split_sizes(self) -> dict[str, int]:
        """Number of items that a search uses, by split."""
        return {str(split): len(self.featured.splits[split]) for split in (Split.TRAIN, Split.VAL)}


def prepare_dataset(preparation: Preparation, progress: Progress | None = None) -> PreparedDataset:
    """Read a dataset and extract its features.

    Nothing is written outside the cache, except that the demo is drawn if it is missing.

    Args:
        preparation: How to prepare the dataset.
        progress: Called with the kind of work, the amount that is done and the total.

    Raises:
        UserError: If the data, the images or the weights cannot be used for a study.
    """
    row = preparation.row
    items = row.read_from(preparation.data_root, preparation.options)
    contents = read_contents(items, preparation.cache_dir)
    identity = contents.fingerprint
    preparation.check_fingerprint(identity)
    report = progress or (lambda _work, _done, _total: None)
    trained = _train_backbone(preparation, items, identity, report)
    config = preparation.features if trained is None else replace(preparation.features, weights=str(trained))
    features = extract_features(
        items,
        identity,
        config,
        preparation.cache_dir,
        skip_bad_images=preparation.skip_bad_images,
        progress=partial(report, Work.EXTRACTING),
        extractor=preparation.extractor,
    )
    readable = items.select(features.readable, "unreadable image")
    task = _make_task(row, readable, features.values)
    return PreparedDataset(
        dataset=preparation.dataset,
        featured=task.featured,
        fingerprint=identity,
        features=_describe_features(preparation, features),
        left_out={**readable.left_out, **task.left_out},
        unreadable=features.unreadable,
        cautions=find_data_cautions(items, contents, features.readable, task.featured.splits, features.values),
        from_cache=features.from_cache,
        options=preparation.options.to_json(row.options),
        notes=readable.notes,
        start=_finetune_start(preparation, config, readable, identity, report),
        trained_backbone=trained,
        images=ItemImages(root=items.image_root, files=readable.file_names, class_names=items.class_names),
    )


def prepare_with_progress(preparation: Preparation, terminal: Terminal) -> PreparedDataset:
    """Prepare a dataset, show the progress, and print the number of images and those left out.

    Args:
        preparation: How to prepare the dataset.
        terminal: Shows the progress and the result.

    Raises:
        UserError: If the data, the images or the weights cannot be used for a study.
    """
    dataset, started_s = preparation.dataset, time.monotonic()
    with terminal.live(at_once=True) as show:
        prepared = prepare_dataset(preparation, show_work(dataset, show))
    sizes = ", ".join(f"{size} {split}" for split, size in prepared.split_sizes.items())
    origin = "from the cache" if prepared.from_cache else f"made in {duration(time.monotonic() - started_s)}"
    terminal.say(f"{dataset}: {sizes} images, {preparation.features.backbone} features {origin}")
    if part := prepared.features.get("weights_part"):
        terminal.say(f"{dataset}: weights {preparation.features.weights}: {part}")
    if preparation.backbone_training is not None:
        terminal.say(
            f"{dataset}: backbone trained by {preparation.backbone_training.kind}: {prepared.trained_backbone}"
        )
    for note in prepared.notes:
        terminal.say(f"{dataset}: {note}")
    for reason, count in prepared.left_out.items():
        terminal.say(f"{dataset}: {count} left out ({reason})")
    for name, reason in prepared.unreadable.items():
        terminal.say(f"{dataset}: left out {name}: {reason}")
    for caution in prepared.cautions:
        terminal.say(f"{dataset}: caution: {caution}")
    return prepared


def _train_backbone(preparation: Preparation, items: Items, identity: str, report: Progress) -> Path | None:
    """Train the backbone on the training split if that is configured; return the file of its weights."""
    if preparation.backbone_training is None or preparation.trained_backbone is not None:
        return preparation.trained_backbone
    row = preparation.row
    if preparation.skip_bad_images:
        items = items.select(_readable(preparation, items, identity, report), "unreadable image")
    task = _make_task(row, items, np.empty((len(items), 0), dtype=np.float32))
    stages = {Stage.DECODING: Work.DECODING, Stage.TRAINING: Work.TRAINING}
    trained = train_backbone(
        TrainingImages(
            items=items,
            fingerprint=identity,
            training_items=task.training_items,
            groups=task.normalisation_groups(),
        ),
        preparation.features,
        preparation.backbone_training,
        preparation.cache_dir,
        progress=lambda stage, done, total: report(stages[stage], done, total),
        num_workers=preparation.data_workers,
    )
    return trained.path


def _readable(preparation: Preparation, items: Items, identity: str, report: Progress) -> Bool[np.ndarray, "N"]:
    """Return a mask of the images that can be read; it comes from extracting features with the initial weights."""
    return extract_features(
        items,
        identity,
        preparation.features,
        preparation.cache_dir,
        skip_bad_images=True,
        progress=partial(report, Work.EXTRACTING),
        extractor=preparation.extractor,
    ).readable


def _make_task(row: Dataset, items: Items, features: Float[np.ndarray, "N D"]) -> Task:
    """Build the dataset's task.

    Raises:
        UserError: If every trial would fail on the data.
    """
    featured = FeaturedItems.join(items, features, row.split(items))
    try:
        return row.make_task(featured, seed=0)
    except UserError as error:
        raise UserError(f"{items.image_root.parent}: {error}") from error


def _describe_features(preparation: Preparation, features: Features) -> dict[str, Any]:
    config, training = preparation.features, preparation.backbone_training
    described: dict[str, Any] = {
        "regime": preparation.regime.value,
        "backbone": config.backbone,
        "weights": config.weights,
        "weights_sha256": features.weights_sha256,
        "image_size": config.image_size,
        "pooling": config.pooling.value,
    }
    if not config.transform.is_usual:
        described["preprocessing"] = config.transform.to_json()
    if part := features.weights_part if training is None else _part_of_initial_weights(config):
        described["weights_part"] = part
    if training is not None:
        described |= {"backbone_training": training.kind.value, "backbone_epochs": training.epochs}
    return described


def _part_of_initial_weights(config: FeaturesConfig) -> str:
    """Return the part of the weights file from which the training of the backbone started."""
    file = Path(config.weights).expanduser()  # a resumed study does not need it, so that it may have gone
    if WeightsSource.of(config.weights) is not WeightsSource.FILE or not file.is_file():
        return ""
    backbone = build_backbone(config.backbone, config.pooling)
    load_weights(backbone, config.weights)
    return backbone.weights_part


def _finetune_start(
    preparation: Preparation, config: FeaturesConfig, items: Items, identity: str, report: Progress
) -> FinetuneStart | None:
    """Return the start of trials that train their backbone: the weights that extracted the features, and the images."""
    if preparation.regime is Regime.FROZEN:
        return None
    backbone = build_backbone(config.backbone, config.pooling)
    load_weights(backbone, config.weights)
    images = load_decoded_images(
        items, identity, config.transform, preparation.cache_dir, progress=partial(report, Work.DECODING)
    )
    return FinetuneStart(backbone=backbone.eval(), images=images, num_workers=preparation.data_workers)
