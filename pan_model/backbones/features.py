"""Features of a dataset's images: extracted once by a frozen backbone, then read from a cache."""

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pan_model.backbones.architectures import build_backbone, measure_feature_dim
from pan_model.backbones.config import FeaturesConfig, Pooling
from pan_model.backbones.extraction import Extraction, Extractor, LocalExtractor
from pan_model.backbones.remembered import Remembered, recall_backbone, remember_backbone
from pan_model.backbones.weights import load_weights
from pan_model.command_line import counted
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.files import atomic_cache_write, check_space, check_writable, content_key
from pan_model.images.decoding import check_readable
from pan_model.shapes import Bool, Float

CACHE_FORMAT = "pan-study/features/1"
LOCAL = LocalExtractor()
"""The default extractor: this process."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of the R of N items whose image is readable, in the order of the items.

    Attributes:
        values: One row of features for each readable image.
        readable: Which of the N items have a row.
        unreadable: The errors of the other images, by image name.
        weights_sha256: The checksum of the backbone's weights.
        from_cache: Whether the features were read from the cache.
        weights_part: The part of the weights file that was loaded; empty for all of it.
    """

    values: Float[np.ndarray, "R D"]
    readable: Bool[np.ndarray, "N"]
    unreadable: dict[str, str] = field(default_factory=dict[str, str])
    weights_sha256: str
    from_cache: bool
    weights_part: str = ""


def extract_features(
    items: Items,
    fingerprint: str,
    config: FeaturesConfig,
    cache_dir: Path,
    *,
    skip_bad_images: bool = False,
    progress: Callable[[int, int], None] | None = None,
    extractor: Extractor = LOCAL,
) -> Features:
    """Return the features of all items from the cache, or extract them in evaluation mode and cache them.

    Args:
        items: The items whose images are read.
        fingerprint: The fingerprint of the items (`pan_model.data.fingerprint`), part of the cache key.
        config: The backbone, its weights and the preprocessing.
        cache_dir: The cache folder.
        skip_bad_images: Whether unreadable images are left out instead of raising an error.
        progress: Called with the numbers of images done and in total while features are extracted.
        extractor: Runs the extraction.

    Raises:
        UserError: Weights or the cache folder cannot be used, images cannot be read, or features are not finite.
    """
    known = recall_backbone(config, cache_dir)
    features = None
    if known is not None:
        path = cache_path(cache_dir, fingerprint, config, known.weights_sha256)
        features = _read_cache(path, len(items), known.weights_sha256)
    if known is None or features is None:
        features, known = _extract_with_backbone(
            items, fingerprint, config, cache_dir, skip_bad_images, progress, extractor
        )
        remember_backbone(config, cache_dir, known)
    else:
        check_readable(items, features.unreadable, skip_bad_images=skip_bad_images)
    return replace(features, weights_part=known.weights_part)


def _extract_with_backbone(
    items: Items,
    fingerprint: str,
    config: FeaturesConfig,
    cache_dir: Path,
    skip_bad_images: bool,
    progress: Callable[[int, int], None] | None,
    extractor: Extractor,
) -> tuple[Features, Remembered]:
    """Build the backbone and return the features of all items, from the cache if they are there, and its weights."""
    backbone = build_backbone(config.backbone, config.pooling)
    weights_sha256 = load_weights(backbone, config.weights)
    known = Remembered(weights_sha256, backbone.weights_part)
    path = cache_path(cache_dir, fingerprint, config, weights_sha256)
    features = _read_cache(path, len(items), weights_sha256)
    if features is not None:
        check_readable(items, features.unreadable, skip_bad_images=skip_bad_images)
        return features, known
    check_writable(path.parent, "features")
    extraction = Extraction(
        backbone=backbone,
        items=items,
        preprocessing=config.transform,
        feature_dim=measure_feature_dim(backbone, config.image_size),
        skip_bad_images=skip_bad_images,
    )
    check_space(path.parent, 4 * len(items) * extraction.feature_dim, "features")
    values, unreadable = _extract(extraction, extractor, progress)
    features = _leave_out(values, unreadable, items, weights_sha256)
    check_readable(items, features.unreadable, skip_bad_images=skip_bad_images)
    _check_finite(features, items, config)
    _write_cache(path, features)
    return features, known


def cache_path(cache_dir: Path, fingerprint: str, config: FeaturesConfig, weights_sha256: str) -> Path:
    """Return the cache file of features, named by the sha256 of everything that they depend on.

    Args:
        cache_dir: The cache folder.
        fingerprint: The fingerprint of the items.
        config: The backbone, its pooling and the preprocessing.
        weights_sha256: The checksum of the backbone's weights.
    """
    pooling = [] if config.pooling is Pooling.AVG else [config.pooling.value]  # older caches hold averages only
    preprocessing = [] if config.transform.is_usual else [config.transform.to_json()]  # theirs is the usual one
    key = content_key(
        CACHE_FORMAT, fingerprint, config.backbone, weights_sha256, config.image_size, *pooling, *preprocessing
    )
    return cache_dir / "features" / f"{key}.safetensors"


def _extract(
    extraction: Extraction, extractor: Extractor, progress: Callable[[int, int], None] | None
) -> tuple[Float[np.ndarray, "N D"], dict[str, str]]:
    """Return a row for every item (0 for unreadable images), and the errors by image name, in the items' order."""
    items = extraction.items
    values = np.zeros((len(items), extraction.feature_dim), dtype=np.float32)
    unreadable: dict[int, str] = {}
    done = 0
    with closing(extractor(extraction)) as batches:
        for indices, rows, reasons in batches:
            values[indices.start : indices.stop] = rows
            unreadable |= reasons
            done += len(indices)
            if progress is not None:
                progress(done, len(items))
    return values, {items.image_names[index]: unreadable[index] for index in sorted(unreadable)}


def _leave_out(
    values: Float[np.ndarray, "N D"], unreadable: dict[str, str], items: Items, weights_sha256: str
) -> Features:
    readable = np.array([name not in unreadable for name in items.image_names])
    return Features(
        values=values[readable] if unreadable else values,
        readable=readable,
        unreadable=unreadable,
        weights_sha256=weights_sha256,
        from_cache=False,
    )


def _check_finite(features: Features, items: Items, config: FeaturesConfig) -> None:
    broken = ~np.isfinite(features.values).all(axis=1)
    if broken.any():
        name = items.image_names[int(np.flatnonzero(features.readable)[broken][0])]
        raise UserError(
            f"backbone {config.backbone} with weights {config.weights}: features must be finite, "
            f"those of {counted(int(broken.sum()), 'image')} are not (first {name}); give other weights."
        )


def _read_cache(path: Path, num_items: int, weights_sha256: str) -> Features | None:
    """Return the cached features; None if there is no file or it is damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            values, readable = file.get_tensor("values"), file.get_tensor("readable")
            metadata = file.metadata() or {}
    except (OSError, SafetensorError):
        return None
    unreadable = metadata.get("unreadable", "")
    if metadata.get("sha256") != _digest(values, readable, unreadable) or len(readable) != num_items:
        return None
    return Features(
        values=values,
        readable=readable,
        unreadable=json.loads(unreadable),
        weights_sha256=weights_sha256,
        from_cache=True,
    )


def _write_cache(path: Path, features: Features) -> None:
    unreadable = json.dumps(features.unreadable)
    metadata = {"unreadable": unreadable, "sha256": _digest(features.values, features.readable, unreadable)}
    with atomic_cache_write(path, "features") as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            save_file({"values": features.values, "readable": features.readable}, temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error  # raised when the disk is full
        temporary.chmod(mode)  # save_file creates files that only their owner can read, and a cache may be shared


def _digest(values: np.ndarray, readable: np.ndarray, unreadable: str) -> str:
    digest = hashlib.sha256(f"{values.dtype} {values.shape} {readable.dtype} {unreadable}\n".encode())
    digest.update(np.ascontiguousarray(values).data)
    digest.update(np.ascontiguousarray(readable).data)
    return digest.hexdigest()
