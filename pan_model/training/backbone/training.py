"""Representation learning outside the trials: a backbone trained once on the training images, then read from a cache.

siamese is PAN's first stage on CUB, proxynca is ProxyNCA++. What the backbone learns is a state-dict file like any
other: features are extracted with it, and it can be given with --weights.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path

import torch

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.config import FeaturesConfig
from pan_model.backbones.weights import load_weights
from pan_model.files import check_writable
from pan_model.images.batches import ImageBatches
from pan_model.images.decoded_cache import load_decoded_images
from pan_model.training.backbone.config import BackboneTrainingConfig
from pan_model.training.backbone.images import TrainingImages
from pan_model.training.backbone.store import TrainedBackbone, TrainingStore, training_key
from pan_model.training.backbone.trainer import BackboneTrainer

PROGRESS_PARTS = 1000
"""In so many parts an epoch's progress is told."""


class Stage(StrEnum):
    """What a progress callback is told about: images (counted one by one), or epochs (in thousandths)."""

    DECODING = "decoding"
    TRAINING = "training"


Progress = Callable[[Stage, int, int], None]
"""Called with what is done and what there is to do in a stage."""


def train_backbone(
    images: TrainingImages,
    features: FeaturesConfig,
    config: BackboneTrainingConfig,
    cache_dir: Path,
    *,
    progress: Progress | None = None,
    num_workers: int = 0,
    device: torch.device | str | None = None,
) -> TrainedBackbone:
    """The backbone of `features`, trained from its weights on the training images alone.

    No other image is opened, so that there is nothing to choose an epoch by: the last one counts. The result is kept in
    `cache_dir` under a key of all it depends on (fingerprint, training items and groups, backbone, pooling, weights,
    image size, config), not of workers and device; a training that was cut goes on after its last finished epoch. What
    was learned beside the backbone (proxies, the embedding before them) is not kept. The device is CUDA where there is
    one.

    Raises UserError when images or weights cannot be read, the cache cannot be written, there is nothing to tell apart,
    or the loss is no longer finite.
    """
    backbone = build_backbone(features.backbone, features.pooling)
    weights_sha256 = load_weights(backbone, features.weights)
    items, groups = images.alone(), images.groups_for(config.kind)
    key = training_key(images.fingerprint, items.image_names, groups, features, weights_sha256, config)
    store = TrainingStore(cache_dir, key)
    if trained := store.trained():
        return trained
    check_writable(store.path.parent, "the trained backbone")
    tell = progress or (lambda _stage, _done, _total: None)
    size, target = features.image_size, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    decoded = load_decoded_images(items, images.fingerprint, size, cache_dir, progress=partial(tell, Stage.DECODING))
    batches = ImageBatches(
        decoded,
        image_size=size,
        augmentation=config.augmentation,
        num_workers=num_workers,
        pin_memory=target.type == "cuda",
    )
    try:
        trainer = BackboneTrainer(backbone, groups, batches, config, image_size=size, device=target)
        return _train(trainer, store, config.epochs, tell)
    finally:
        batches.close()


def _train(trainer: BackboneTrainer, store: TrainingStore, num_epochs: int, tell: Progress) -> TrainedBackbone:
    if state := store.checkpoint():
        trainer.load_state_dict(state)
    for epoch in range(trainer.epoch, num_epochs):
        trainer.train_epoch(partial(_tell_epoch, tell, epoch, num_epochs))
        store.save_checkpoint(trainer.state_dict())
    return store.save_trained(trainer.backbone.network, trainer.losses)


def _tell_epoch(tell: Progress, epoch: int, num_epochs: int, share: float) -> None:
    tell(Stage.TRAINING, round((epoch + share) * PROGRESS_PARTS), num_epochs * PROGRESS_PARTS)
