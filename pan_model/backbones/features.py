"""Features of a dataset's images: extracted once by a frozen backbone, then read from a cache."""

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pan_model.backbones.architectures import build_backbone, measure_feature_dim
from pan_model.backbones.config import FeaturesConfig, Pooling
from pan_model.backbones.extraction import Extraction, Extractor, LocalExtractor
from pan_model.backbones.weights import load_weights
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.files import atomic_cache_write, check_writable, content_key
from pan_model.images.decoding import check_readable
from pan_model.shapes import Bool, Float

CACHE_FORMAT = "pan-study/features/1"
LOCAL = LocalExtractor()
"""Extracts in this process."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of those of N items whose image could be read: R rows in the order of the items, R <= N.

    readable says which items have a row, unreadable what is wrong with the images of the others, by image name.
    """

    values: Float[np.ndarray, "R D"]
    readable: Bool[np.ndarray, "N"]
    unreadable: dict[str, str] = field(default_factory=dict[str, str])
    weights_sha256: str
    from_cache: bool


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
    """Features of all items, read from the cache or extracted in evaluation mode and put there.

    `fingerprint` is that of the items (pan_model.data.fingerprint). `progress` is called with the number of images
    done and to do, only when features are extracted, which the extractor does. Raises UserError when weights or cache
    folder cannot be used, and, unless they are to be skipped, when images cannot be read.
    """
    backbone = build_backbone(config.backbone, config.pooling)
    weights_sha256 = load_weights(backbone, config.weights)
    path = cache_path(cache_dir, fingerprint, config, weights_sha256)
    features = _read_cache(path, len(items), weights_sha256)
    if features is not None:
        check_readable(items, features.unreadable, skip_bad_images=skip_bad_images)
        return features
    check_writable(path.parent, "features")
    extraction = Extraction(
        backbone=backbone,
        items=items,
        image_size=config.image_size,
        feature_dim=measure_feature_dim(backbone, config.image_size),
        skip_bad_images=skip_bad_images,
    )
    values, unreadable = _extract(extraction, extractor, progress)
    features = _leave_out(values, unreadable, items, weights_sha256)
    check_readable(items, features.unreadable, skip_bad_images=skip_bad_images)
    _check_finite(features, items, config)
    _write_cache(path, features)
    return features


def cache_path(cache_dir: Path, fingerprint: str, config: FeaturesConfig, weights_sha256: str) -> Path:
    """Where features are cached: named by the sha256 of all that they depend on."""
    pooling = [] if config.pooling is Pooling.AVG else [config.pooling.value]  # older caches know only the average
    key = content_key(CACHE_FORMAT, fingerprint, config.backbone, weights_sha256, config.image_size, *pooling)
    return cache_dir / "features" / f"{key}.safetensors"


def _extract(
    extraction: Extraction, extractor: Extractor, progress: Callable[[int, int], None] | None
) -> tuple[Float[np.ndarray, "N D"], dict[str, str]]:
    """A row for every item, those of unreadable images 0, and what is wrong with those by name, in the items' order."""
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
            f"those of {int(broken.sum())} images are not (first {name}); give other weights."
        )


def _read_cache(path: Path, num_items: int, weights_sha256: str) -> Features | None:
    """The cached features, or None where there are none or the file is not whole."""
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
            raise OSError(str(error)) from error  # what it raises when the disk is full
        temporary.chmod(mode)  # save_file makes files that nobody else can read, and a cache may be shared


def _digest(values: np.ndarray, readable: np.ndarray, unreadable: str) -> str:
    digest = hashlib.sha256(f"{values.dtype} {values.shape} {readable.dtype} {unreadable}\n".encode())
    digest.update(np.ascontiguousarray(values).data)
    digest.update(np.ascontiguousarray(readable).data)
    return digest.hexdigest()
