"""Trained models on disk: weights in safetensors, and config.json, from which the model is built again.

A backbone that was trained with the model is saved next to it, as a state dict that `--weights` accepts.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pan_model.backbones.architectures import Backbone, build_backbone
from pan_model.backbones.config import Pooling, WeightsSource
from pan_model.backbones.weights import load_weights, load_weights_file
from pan_model.config import TrialConfig
from pan_model.errors import UserError
from pan_model.files import decode_user_text
from pan_model.images.preprocessing import Preprocessing
from pan_model.model.conditions import Followed
from pan_model.model.pan import Pan
from pan_model.scoring.explanation import Explainer
from pan_model.scoring.image_index import ImageIndex
from pan_model.scoring.index_files import MODEL, IndexedImages, read_index_files, write_index_files

MODEL_SCHEMA = "pan-study/model/1"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
BACKBONE = "backbone.safetensors"
BACKBONE_KEY = "trained_backbone"
"""The key of a trained backbone's file among the features in config.json."""


def save_model(
    model: Pan, config: TrialConfig, features: dict[str, Any], folder: Path, *, backbone: Backbone | None = None
) -> None:
    """Write model.safetensors and config.json, and backbone.safetensors for a trained backbone.

    Args:
        model: The trained model.
        config: Its configuration.
        features: The features that the model takes (backbone, weights, ..), written to config.json.
        folder: An existing folder.
        backbone: The trained backbone, if any; `weights` in `features` are then its initial weights.
    """
    _save_tensors(model.state_dict(), folder / WEIGHTS)
    if backbone is not None:
        _save_tensors(backbone.network.state_dict(), folder / BACKBONE)
        features = features | {BACKBONE_KEY: BACKBONE}
    content = {
        "schema": MODEL_SCHEMA,
        "config": config.to_flat(),
        "features": features | {"preprocessing": read_preprocessing(features).to_json()},
        "feature_dim": model.feature_dim,
        "num_classes": model.num_classes,
        "condition_names": list(model.condition_names),
    }
    if model.followed is not None:
        content["followed"] = {name: asdict(followed) for name, followed in model.followed.items()}
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path | str) -> Pan:
    """Load a trained model in evaluation mode, on the CPU.

    Call it with the backbone's features of two images, (P, D) each. The result has `score` (P,), `similarity` (P, M)
    and `relevance` (P, M); the model's `condition_names` names the M conditions.

    Raises:
        UserError: The folder holds no complete model.
    """
    folder = Path(folder)
    content = _read_config(folder)
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(_incomplete(folder, error)) from error
    try:
        model = Pan(
            TrialConfig.from_flat(content["config"]).model,
            feature_dim=content["feature_dim"],
            num_classes=content["num_classes"],
            condition_names=tuple(content["condition_names"]),
        )
        if "followed" in content:
            model.followed = {name: Followed(**followed) for name, followed in content["followed"].items()}
    except (KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(_other_version(folder, error)) from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{folder / WEIGHTS}: does not fit {CONFIG} ({error}).") from error
    return model.eval()


def load_backbone(folder: Path | str, *, weights: Path | str | None = None) -> Backbone:
    """Load the backbone of a saved model in evaluation mode, on the CPU.

    It is the backbone that was trained with the model, or else the frozen one of the model's study. Its attribute
    `preprocess` loads an image as the study did: `backbone(backbone.preprocess(path)[None])`.

    Args:
        folder: The folder of the model.
        weights: The current place of a frozen backbone's weights; by default where they were in the study.

    Raises:
        UserError: The weights cannot be read or downloaded, or are not those of the study.
    """
    folder = Path(folder)
    features = _read_config(folder)["features"]
    try:
        backbone = build_backbone(features["backbone"], features.get("pooling", Pooling.AVG))
        backbone.preprocess = read_preprocessing(features)
        described, studied = str(weights or features["weights"]), features["weights_sha256"]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(_other_version(folder, error)) from error
    if BACKBONE_KEY in features:
        load_weights_file(backbone, folder / features[BACKBONE_KEY])
        return backbone.eval()
    if weights is None and WeightsSource.of(described) is WeightsSource.FILE and not Path(described).is_file():
        raise UserError(
            f"{folder / CONFIG}: features.weights is {described}, which is not there; give the place of the "
            "study's weights by --weights, from Python by weights."
        )
    sha256 = load_weights(backbone, described)
    if sha256 != studied:
        raise UserError(
            f"{folder / CONFIG}: features.weights_sha256 is {studied}, but the weights "
            f"{described} have {sha256}; restore the weights that the study used."
        )
    return backbone.eval()


def load_explainer(folder: Path | str, *, weights: Path | str | None = None) -> Explainer:
    """Load a trained model and its backbone to explain why two images are similar, on the CPU.

    `load_explainer("final").explain("a.png", "b.png")` returns the score and the part of each condition in it.

    Args:
        folder: The folder of the model.
        weights: The current place of a frozen backbone's weights; by default where they were in the study.

    Raises:
        UserError: The folder holds no complete model, or the weights are not those of the study.
    """
    return Explainer(load_model(folder), load_backbone(folder, weights=weights))


def save_index(images: IndexedImages, source: Path, backbone: Backbone, folder: Path) -> None:
    """Write an index of images, which holds a copy of the model and of its backbone, so that it can be moved.

    Args:
        images: The embedded images.
        source: The folder of the model.
        backbone: The backbone of the model.
        folder: An existing empty folder.
    """
    content = _read_config(source)
    content["features"][BACKBONE_KEY] = BACKBONE
    (folder / MODEL).mkdir()
    shutil.copyfile(source / WEIGHTS, folder / MODEL / WEIGHTS)
    _save_tensors(backbone.network.state_dict(), folder / MODEL / BACKBONE)
    (folder / MODEL / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_index_files(images, folder, {"from": str(source.absolute())})


def load_index(folder: Path | str) -> ImageIndex:
    """Load an index of images that study/index.py has made; `load_index(folder).query("a.png", top=10)`.

    Raises:
        UserError: The folder holds no complete index, or its model is not the one that embedded the images.
    """
    folder = Path(folder)
    images = read_index_files(folder)
    return ImageIndex(load_model(folder / MODEL), load_backbone(folder / MODEL), images)


def load_preprocessing(folder: Path | str) -> Preprocessing:
    """Load the preprocessing of a saved model's images, without its weights.

    `pan_model.images.load_image(path, load_preprocessing(folder))` returns an image as the model's backbone takes it.

    Raises:
        UserError: The folder holds no complete model.
    """
    return read_preprocessing(_read_config(Path(folder))["features"])


def read_preprocessing(features: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing of a description of features; without an entry it is the usual one of ImageNet.

    Args:
        features: The `features` of best_config.json or of a saved model's config.json.
    """
    if values := features.get("preprocessing"):
        return Preprocessing.from_json(values)
    return Preprocessing.usual(features.get("image_size", Preprocessing.image_size))


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads(decode_user_text((folder / CONFIG).read_bytes()))
    except (OSError, ValueError) as error:
        raise UserError(_incomplete(folder, error)) from error
    if not isinstance(content, dict) or content.get("schema") != MODEL_SCHEMA:
        got = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{folder / CONFIG}: schema must be {MODEL_SCHEMA}, got {got}; train the model again.")
    if "features" not in content:
        raise UserError(_other_version(folder, KeyError("features")))
    return content


def _other_version(folder: Path, error: Exception) -> str:
    """Describe a config.json that lacks an entry or has one that this release does not read."""
    reason = f"no entry {error}" if isinstance(error, KeyError) else str(error).removesuffix(".")
    return f"{folder / CONFIG}: must describe a model of this release ({reason}); train it again with study/final.py."


def _incomplete(folder: Path, error: Exception) -> str:
    return f"{folder}: must hold {CONFIG} and {WEIGHTS} of a trained model ({error})."


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(mode)  # save_file makes files that other users cannot read
