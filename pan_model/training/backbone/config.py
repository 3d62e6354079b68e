"""The configuration of backbone training. Imports neither torch nor torchvision."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from pan_model.errors import UserError
from pan_model.images.augmentation import AugmentationConfig

MIN_BATCH_SIZE = 4
"""The fewest images that are in memory at a time: BatchNorm cannot normalise a single image."""

SIAMESE_EPOCHS, PROXYNCA_EPOCHS, WARM_UP_EPOCHS = 200, 50, 5


class BackboneTraining(StrEnum):
    """The loss of backbone training: none (no training), siamese (triplets) or proxynca (ProxyNCA++)."""

    NONE = "none"
    SIAMESE = "siamese"
    PROXYNCA = "proxynca"


@dataclass(frozen=True, kw_only=True)
class BackboneTrainingConfig:
    """How a backbone is trained: Adam with a constant learning rate. `default_training` returns the defaults of a kind.

    Attributes:
        kind: siamese or proxynca.
        epochs: The number of epochs.
        batch_size: Triplets (siamese) or images (proxynca) in a step.
        learning_rate: The learning rate of the backbone.
        margin: siamese: the margin of the triplet loss.
        temperature: proxynca: divides squared distances.
        embedding_dim: proxynca: the length of the embedding before the proxies.
        images_per_class: proxynca: images of each class in a step.
        proxy_learning_rate_factor: proxynca: the proxies' learning rate, as a multiple of `learning_rate`.
        warm_up_epochs: proxynca: the first epochs, in which the backbone is frozen.
        images_at_once: Images of a step that are in memory at a time, 0 for all. It affects BatchNorm statistics only.
        augmentation: The augmentation of images, None for none.
        seed: Determines initial weights, steps and augmentation.
    """

    kind: BackboneTraining
    epochs: int
    batch_size: int
    learning_rate: float
    margin: float = 0.2
    temperature: float = 1 / 9
    embedding_dim: int = 2048
    images_per_class: int = 4
    proxy_learning_rate_factor: float = 100.0
    warm_up_epochs: int = 0
    images_at_once: int = 0
    augmentation: AugmentationConfig | None = field(default_factory=AugmentationConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind is BackboneTraining.NONE:
            raise UserError("kind must be siamese or proxynca where a backbone is trained, got none.")
        for name in ("epochs", "batch_size", "embedding_dim", "images_per_class"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("learning_rate", "margin", "temperature", "proxy_learning_rate_factor"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UserError(f"{name} must be a finite number above 0, got {getattr(self, name)}.")
        if self.images_at_once and self.images_at_once < MIN_BATCH_SIZE:
            raise UserError(
                f"images_at_once must be 0 (a whole step) or at least {MIN_BATCH_SIZE}, got {self.images_at_once}."
            )
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed must be at least 0 and below 2**63, got {self.seed}.")
        self._check_warm_up()
        self._check_classes()

    def _check_warm_up(self) -> None:
        if self.kind is BackboneTraining.SIAMESE and self.warm_up_epochs:
            raise UserError(
                "warm_up_epochs must be 0 with siamese, which trains nothing besides the backbone, "
                f"got {self.warm_up_epochs}."
            )
        if not 0 <= self.warm_up_epochs < self.epochs:
            raise UserError(
                f"warm_up_epochs must be at least 0 and below epochs, {self.epochs}, got {self.warm_up_epochs}."
            )

    def _check_classes(self) -> None:
        if self.kind is not BackboneTraining.PROXYNCA:
            return
        if self.batch_size % self.images_per_class or self.classes_per_batch < 2:
            raise UserError(
                "batch_size must be a multiple of images_per_class, at least twice it; "
                f"got {self.batch_size} and {self.images_per_class}."
            )

    @property
    def classes_per_batch(self) -> int:
        """The number of classes in a step of proxynca."""
        return self.batch_size // self.images_per_class


def default_training(
    kind: BackboneTraining, *, epochs: int | None = None, from_random: bool = True, seed: int = 0
) -> BackboneTrainingConfig:
    """Return the default configuration of a kind of backbone training.

    siamese: as published for CUB (200 epochs from random weights, batch 96, Adam 1e-3, margin 0.2, augmentation). Not
    published: that a batch is 96 triplets, and 1e-4 for pretrained weights. proxynca: batches of 8 x 4, temperature 1/9
    and 5 warm-up epochs are published; 50 epochs and both learning rates are ours.

    Args:
        kind: siamese or proxynca.
        epochs: The number of epochs, by default 200 or 50. Fewer than 15 have a third as warm-up epochs.
        from_random: Whether the initial weights are random rather than pretrained.
        seed: The seed of the training.
    """
    if kind is BackboneTraining.PROXYNCA:
        num_epochs = epochs or PROXYNCA_EPOCHS
        return BackboneTrainingConfig(
            kind=kind,
            epochs=num_epochs,
            batch_size=32,
            learning_rate=1e-4,
            warm_up_epochs=min(WARM_UP_EPOCHS, num_epochs // 3),
            seed=seed,
        )
    return BackboneTrainingConfig(
        kind=kind,
        epochs=epochs or SIAMESE_EPOCHS,
        batch_size=96,
        learning_rate=1e-3 if from_random else 1e-4,
        seed=seed,
    )
