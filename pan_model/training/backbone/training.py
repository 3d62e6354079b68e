"""Train a backbone before the trials, on the training images of a dataset, and cache the result.

The kind siamese is PAN's first stage on CUB; proxynca is ProxyNCA++. The result is a state-dict file: a study extracts
features with it, and --weights accepts it.
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

PROGRESS_UNITS = 1000
"""Number of progress units of an epoch."""


class Stage(StrEnum):
    """The stages of a training. Progress is counted in images while decoding, and in thousandths of epochs after it."""

    DECODING = "decoding"
    TRAINING = "training"


Progress = Callable[[Stage, int, int], None]
"""Called with the stage, the finished units and the total units of the stage."""


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
    """Train a backbone on the training images, starting from the weights of `features`, or return it from the cache.

    The weights of the last epoch are returned: no other image is opened, so there is no validation to choose an epoch
    by. The cache key covers everything that the result depends on, but not the device or the number of workers. An
    interrupted training resumes after its last finished epoch. The weights of the objective (proxies) are discarded.

    Args:
        images: The training items and their groups.
        features: The backbone, its initial weights, its pooling and the preprocessing.
        config: The configuration of the training.
        cache_dir: The cache folder.
        progress: Called while images are decoded and after each training step.
        num_workers: Number of processes that prepare images; 0 prepares them in this process.
        device: The device that trains; by default CUDA if available.

    Raises:
        UserError: Images or weights cannot be read, the cache cannot be written, there are too few classes or outfits,
            or the loss is not finite.
    """
    backbone = build_backbone(features.backbone, features.pooling)
    weights_sha256 = load_weights(backbone, features.weights)
    items, groups = images.alone(), images.groups_for(config.kind)
    key = training_key(images.fingerprint, items.image_names, groups, features, weights_sha256, config)
    store = TrainingStore(cache_dir, key)
    if trained := store.trained():
        return trained
    check_writable(store.path.parent, "the trained backbone")
    report = progress or (lambda _stage, _done, _total: None)
    size, target = features.image_size, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    decoded = load_decoded_images(
        items, images.fingerprint, features.transform, cache_dir, progress=partial(report, Stage.DECODING)
    )
    batches = ImageBatches(
        decoded,
        image_size=size,
        augmentation=config.augmentation,
        num_workers=num_workers,
        pin_memory=target.type == "cuda",
    )
    try:
        trainer = BackboneTrainer(backbone, groups, batches, config, image_size=size, device=target)
        return _train(trainer, store, config.epochs, report)
    finally:
        batches.close()


def _train(trainer: BackboneTrainer, store: TrainingStore, num_epochs: int, report: Progress) -> TrainedBackbone:
    if state := store.checkpoint():
        trainer.load_state_dict(state)
    for epoch in range(trainer.epoch, num_epochs):
        trainer.train_epoch(partial(_report_epoch, report, epoch, num_epochs))
        store.save_checkpoint(trainer.state_dict())
    return store.save_trained(trainer.backbone.network, trainer.losses)


def _report_epoch(report: Progress, epoch: int, num_epochs: int, share: float) -> None:
    report(Stage.TRAINING, round((epoch + share) * PROGRESS_UNITS), num_epochs * PROGRESS_UNITS)
