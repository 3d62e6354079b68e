"""The plan of a study for one dataset, with every default filled in."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pan_model.backbones.config import TIMM, FeaturesConfig, Pooling, own_preprocessing
from pan_model.datasets import Dataset, ReaderOptions, find_dataset
from pan_model.errors import UserError
from pan_model.images.preprocessing import Preprocessing
from pan_model.training.backbone.config import BackboneTrainingConfig
from search_spaces import SPACES, SearchSpace
from study.config.choices import PreprocessingChoice
from study.config.space_description import space_digest
from study.config.value_rules import check_at_least


@dataclass(frozen=True, kw_only=True)
class DatasetPlan:
    """The plan of a study for one dataset, with every default filled in.

    `labelled` is off if the images have no attributes; the space is then unsupervised.
    """

    dataset: str
    num_trials: int
    max_epochs: int
    grace_epochs: int
    features: FeaturesConfig
    space: SearchSpace
    options: ReaderOptions = field(default_factory=ReaderOptions)
    backbone_training: BackboneTrainingConfig | None = None
    labelled: bool = True

    def __post_init__(self) -> None:
        check_at_least(1, num_trials=self.num_trials, max_epochs=self.max_epochs, grace_epochs=self.grace_epochs)
        if self.grace_epochs > self.max_epochs:
            raise UserError(f"grace_epochs must be at most max_epochs, {self.max_epochs}, got {self.grace_epochs}.")

    @property
    def row(self) -> Dataset:
        """The dataset, with the task of the plan."""
        return find_dataset(self.dataset, self.options.task, self.options.val_questions)

    def signed(self, options: Collection[str]) -> dict[str, Any]:
        """Return the signed content of the dataset.

        Encoders, pooling, preprocessing, backbone training, the task and missing attributes are included only if they
        differ from the default, and questions on val unless they are the full ones, so that studies of releases without
        them can be resumed.

        Args:
            options: The reader options that are signed by their value.
        """
        signed: dict[str, Any] = {
            "max_epochs": self.max_epochs,
            "grace_epochs": self.grace_epochs,
            "backbone": self.features.backbone,
            "image_size": self.features.image_size,
            "space": space_digest(self.space),
            **self.options.to_json(set(find_dataset(self.dataset).options) & set(options)),
        }
        if not self.labelled:
            signed["labels"] = "none"
        if (self.space.unrestricted or self.space) is not SPACES[self.dataset]:
            signed["encoders"] = " ".join(self.space.encoders)
        if self.features.pooling is not Pooling.AVG:
            signed["pooling"] = self.features.pooling.value
        if self.features.preprocessing is not None:
            signed["preprocessing"] = self.features.preprocessing.to_json()
        if self.backbone_training is not None:
            signed["backbone_training"] = {
                "kind": str(self.backbone_training.kind),
                "epochs": self.backbone_training.epochs,
            }
        return signed


def choose_features(
    row: Dataset,
    *,
    backbone: str | None,
    weights: str,
    image_size: int | None,
    preprocessing: PreprocessingChoice | None,
    pooling: Pooling,
) -> FeaturesConfig:
    """Return the features of a dataset with every default filled in; None is the default of a flag.

    Args:
        row: The dataset.
        backbone: The value of --backbone.
        weights: The weights of the backbone.
        image_size: The value of --image-size, px.
        preprocessing: The value of --preprocessing.
        pooling: The value of --pooling.
    """
    backbone = row.backbone if backbone is None else backbone
    chosen = own_preprocessing(backbone, image_size, weights=weights, default_size=row.image_size)
    if preprocessing is PreprocessingChoice.IMAGENET:
        default_size = chosen.image_size if backbone.startswith(TIMM) else row.image_size
        chosen = Preprocessing.usual(default_size if image_size is None else image_size)
    return FeaturesConfig(
        backbone=backbone, weights=weights, image_size=chosen.image_size, pooling=pooling, preprocessing=chosen
    )
