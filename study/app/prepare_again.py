"""Preparation of the data of a best_config.json: the same data and weights as in its study, which is checked."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pan_model.backbones.architectures import build_backbone
from pan_model.backbones.config import FeaturesConfig, Pooling
from pan_model.backbones.weights import load_weights
from pan_model.datasets import ReaderOptions
from pan_model.errors import UserError
from pan_model.trained import read_preprocessing
from study.config.choices import Regime
from study.nodes.slots import loading_processes_here
from study.storage.files import exists, storage_of
from study.storage.location import Location
from study.storage.paths import BACKBONE
from study.terminal import Terminal
from study.trials.preparation import Preparation, PreparedDataset, prepare_with_progress


@runtime_checkable  # for beartype, which checks types while tests run
class StudiedData(Protocol):
    """Where the data of a best_config.json are now; see the flags of `study.config.final_config.FinalConfig`."""

    @property
    def best_config(self) -> Location:
        """The file best_config.json."""
        ...

    @property
    def data_root(self) -> Path:
        """The parent of the dataset's folder."""
        ...

    @property
    def cache_dir(self) -> Path:
        """The cache of features."""
        ...

    @property
    def weights(self) -> str | None:
        """The backbone's weights, if the file has moved since the search."""
        ...

    @property
    def data_workers(self) -> int | None:
        """Number of processes that load images."""
        ...

    @property
    def skip_bad_images(self) -> bool:
        """Whether unreadable images are left out."""
        ...

    @property
    def attribute_words(self) -> Path | None:
        """The attribute words, if the file has moved since the search."""
        ...


def prepare_again(best: dict[str, Any], source: StudiedData, terminal: Terminal) -> PreparedDataset:
    """Prepare the study's data and features; compare the data with the study before any image is opened.

    Args:
        best: The content of best_config.json.
        source: Where the data are.
        terminal: Shows the progress.

    Raises:
        UserError: If the data, the images or the weights are not those of the study, or cannot be used.
    """
    described = best["features"]
    features = FeaturesConfig(
        backbone=described["backbone"],
        weights=_find_weights(best, source),
        image_size=described["image_size"],
        pooling=Pooling(described.get("pooling", Pooling.AVG)),
        preprocessing=read_preprocessing(described),
    )
    options = _read_options(best, source)
    preparation = Preparation(
        dataset=best["dataset"],
        data_root=source.data_root,
        cache_dir=source.cache_dir,
        features=features,
        options=options,
        regime=Regime(described["regime"]),
        data_workers=loading_processes_here(source.data_workers),
        skip_bad_images=source.skip_bad_images,
        check_fingerprint=partial(_check_same, best, source, options, features),
    )
    return prepare_with_progress(preparation, terminal)


def _check_same(
    best: dict[str, Any], source: StudiedData, options: ReaderOptions, features: FeaturesConfig, fingerprint: str
) -> None:
    """Raise UserError if the data or the weights are not those of the study.

    Args:
        best: The content of best_config.json.
        source: Where the data are.
        options: How the data were read.
        features: The features to extract.
        fingerprint: The fingerprint of the data.
    """
    studied = best["data"]["fingerprint"]
    if fingerprint != studied:
        words = f" with the words of {options.attribute_words}" if options.attribute_words else ""
        way_out = "--data-root and the --attribute-words" if words else "--data-root"
        raise UserError(
            f"{source.best_config}: data.fingerprint is {studied}, but the data below {source.data_root}{words} have "
            f"{fingerprint}; give the {way_out} of the study."
        )
    studied = best["features"]["weights_sha256"]
    sha256 = load_weights(build_backbone(features.backbone, features.pooling), features.weights)
    if sha256 != studied:
        raise UserError(
            f"{source.best_config}: features.weights_sha256 is {studied}, but those of {features.weights} have "
            f"{sha256}; give the study's by --weights."
        )


def _find_weights(best: dict[str, Any], source: StudiedData) -> str:
    """Return the weights to use: those of --weights, else the study's trained backbone, else those of the file."""
    features = best["features"]
    if source.weights is not None or "backbone_training" not in features:
        return source.weights or features["weights"]
    file = source.best_config.parent / BACKBONE
    if not exists(file):
        raise UserError(
            f"{source.best_config}: features.backbone_training is {features['backbone_training']}, but {file} with the "
            "trained backbone is not there; put the study's there, or give it by --weights."
        )
    return str(storage_of(file).copy_to_disk(file, source.cache_dir))


def _read_options(best: dict[str, Any], source: StudiedData) -> ReaderOptions:
    """Return how the study read its data, with the current path of the attribute words."""
    options = ReaderOptions.from_json(best["data"].get("options", {}))
    words = options.attribute_words
    if source.attribute_words is not None:
        if words is None:
            raise UserError(f"{source.best_config}: the study had no --attribute-words; leave the flag out.")
        return replace(options, attribute_words=source.attribute_words)
    if words is not None and not words.is_file():
        raise UserError(
            f"{source.best_config}: data.options.attribute_words is {words}, which is not there; "
            "give the study's list by --attribute-words FILE."
        )
    return options
