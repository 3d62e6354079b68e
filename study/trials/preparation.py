"""Prepare: a dataset's items, read and checked, with their features, and what the study has to remember of both."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.config import FeaturesConfig
from pan_model.backbones.extraction import Extractor
from pan_model.backbones.features import LOCAL, Features, extract_features
from pan_model.backbones.weights import load_weights
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.fingerprint import fingerprint
from pan_model.data.items import Items
from pan_model.data.splits import Split
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

Progress = Callable[["Work", int, int], None]
"""Called with the kind of work, and how much of it is done and to do."""


class Work(StrEnum):
    """What takes time when a dataset is prepared."""

    DECODING = "images decoded"
    TRAINING = "backbone training"
    EXTRACTING = "features extracted"


def _take_any(_fingerprint: str) -> None:
    """Any data will do."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a dataset is made ready for trials: where it lies, how it is read, which features it gets.

    A backbone is trained as backbone_training says, and features are extracted with what it learned; trained_backbone
    is the result of an earlier training, which then counts. data_workers processes load images for whatever is
    trained in this process. The extractor computes features that are not in the cache. check_fingerprint may refuse the
    data before any image is opened.
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


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedDataset:
    """A dataset that trials can start on.

    features is the "features" of best_config.json, options what its reader heeded; left_out counts items and questions
    by reason, unreadable says why by image. start is for trials that train their backbone; trained_backbone is the
    weights' file where it was trained before them.
    """

    dataset: str
    featured: FeaturedItems
    fingerprint: str
    features: dict[str, Any]
    left_out: dict[str, int]
    unreadable: dict[str, str]
    from_cache: bool
    options: dict[str, str] = field(default_factory=dict[str, str])
    start: FinetuneStart | None = None
    trained_backbone: Path | None = None

    @property
    def record(self) -> DatasetRecord:
        """What study.json records of it."""
        return DatasetRecord(
            dataset=self.dataset,
            fingerprint=self.fingerprint,
            features=self.features,
            splits=self.split_sizes,
            left_out=self.left_out,
            unreadable=self.unreadable,
            options=self.options,
        )

    @property
    def split_sizes(self) -> dict[str, int]:
        """How many items a search looks at, by split."""
        return {str(split): len(self.featured.splits[split]) for split in (Split.TRAIN, Split.VAL)}


def prepare_dataset(preparation: Preparation, progress: Progress | None = None) -> PreparedDataset:
    """Read a dataset and its features; UserError for whatever stands in the way of a study.

    Writes to the cache, and draws the demo where it is missing, but nothing else.
    """
    row = find_dataset(preparation.dataset)
    items = row.read(preparation.data_root / row.folder, preparation.options)
    identity = fingerprint(items, preparation.cache_dir)
    preparation.check_fingerprint(identity)
    tell = progress or (lambda _work, _done, _total: None)
    trained = _train_backbone(preparation, items, identity, tell)
    config = preparation.features if trained is None else replace(preparation.features, weights=str(trained))
    features = extract_features(
        items,
        identity,
        config,
        preparation.cache_dir,
        skip_bad_images=preparation.skip_bad_images,
        progress=partial(tell, Work.EXTRACTING),
        extractor=preparation.extractor,
    )
    kept = items.select(features.readable, "unreadable image")
    task = _make_task(row, kept, features.values)
    return PreparedDataset(
        dataset=preparation.dataset,
        featured=task.featured,
        fingerprint=identity,
        features=_describe_features(preparation, features),
        left_out={**kept.left_out, **task.left_out},
        unreadable=features.unreadable,
        from_cache=features.from_cache,
        options=preparation.options.to_json(row.options),
        start=_finetune_start(preparation, config, kept, identity, tell),
        trained_backbone=trained,
    )


def prepare_on_screen(preparation: Preparation, screen: Terminal) -> PreparedDataset:
    """Prepare a dataset, show how it goes, and say what there is and what was left out."""
    dataset, started_s = preparation.dataset, time.monotonic()
    with screen.live(at_once=True) as show:
        prepared = prepare_dataset(preparation, show_work(dataset, show))
    sizes = ", ".join(f"{size} {split}" for split, size in prepared.split_sizes.items())
    origin = "from the cache" if prepared.from_cache else f"made in {duration(time.monotonic() - started_s)}"
    screen.say(f"{dataset}: {sizes} images, {preparation.features.backbone} features {origin}")
    if preparation.backbone_training is not None:
        screen.say(f"{dataset}: backbone trained by {preparation.backbone_training.kind}: {prepared.trained_backbone}")
    for reason, count in prepared.left_out.items():
        screen.say(f"{dataset}: {count} left out ({reason})")
    for name, why in prepared.unreadable.items():
        screen.say(f"{dataset}: left out {name}: {why}")
    return prepared


def _train_backbone(preparation: Preparation, items: Items, identity: str, tell: Progress) -> Path | None:
    """The weights of the backbone trained on the training split, where that is asked for."""
    if preparation.backbone_training is None or preparation.trained_backbone is not None:
        return preparation.trained_backbone
    row = find_dataset(preparation.dataset)
    if preparation.skip_bad_images:
        items = items.select(_readable(preparation, items, identity, tell), "unreadable image")
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
        progress=lambda stage, done, total: tell(stages[stage], done, total),
        num_workers=preparation.data_workers,
    )
    return trained.path


def _readable(preparation: Preparation, items: Items, identity: str, tell: Progress) -> Bool[np.ndarray, "N"]:
    """Which images can be read: seen when features are extracted with the first weights."""
    return extract_features(
        items,
        identity,
        preparation.features,
        preparation.cache_dir,
        skip_bad_images=True,
        progress=partial(tell, Work.EXTRACTING),
        extractor=preparation.extractor,
    ).readable


def _make_task(row: Dataset, items: Items, features: Float[np.ndarray, "N D"]) -> Task:
    """The dataset's task; UserError for what every trial would fail on."""
    featured = FeaturedItems.join(items, features, row.split(items))
    try:
        return row.task(featured, seed=0)
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
    if training is not None:
        described |= {"backbone_training": training.kind.value, "backbone_epochs": training.epochs}
    return described


def _finetune_start(
    preparation: Preparation, config: FeaturesConfig, kept: Items, identity: str, tell: Progress
) -> FinetuneStart | None:
    """What trials that train their backbone start from: the weights that the features were extracted with."""
    if preparation.regime is Regime.FROZEN:
        return None
    backbone = build_backbone(config.backbone, config.pooling)
    load_weights(backbone, config.weights)
    images = load_decoded_images(
        kept, identity, config.image_size, preparation.cache_dir, progress=partial(tell, Work.DECODING)
    )
    return FinetuneStart(backbone=backbone.eval(), images=images, num_workers=preparation.data_workers)
