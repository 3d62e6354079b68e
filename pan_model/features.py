"""Features of a dataset's images: extracted once by a frozen backbone, then read from a cache."""

import hashlib
import json
import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Semaphore

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from pan_model.backbones import (
    Backbone,
    Pooling,
    build_backbone,
    check_backbone_name,
    check_pooling,
    measure_feature_dim,
)
from pan_model.bad_images import check_readable, reason_without_path
from pan_model.cache import content_key, written_whole
from pan_model.data.items import Items
from pan_model.errors import BadInput
from pan_model.images import load_image
from pan_model.shapes import Bool, Float
from pan_model.weights import load_weights
from pan_model.writable import check_writable

CACHE_FORMAT = "pan-study/features/1"
CPU_BATCH_SIZE = 16
GPU_BATCH_SIZE = 64
MAX_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Which features: of which backbone, with which weights (imagenet, random or a file), at which size in px.

    pooling says what is taken of each feature over the map, its average or its maximum.
    """

    backbone: str = "resnet50"
    weights: str = "imagenet"
    image_size: int = 224
    pooling: Pooling = Pooling.AVG

    def __post_init__(self) -> None:
        check_backbone_name(self.backbone)
        check_pooling(self.backbone, self.pooling)
        if not self.weights:
            raise BadInput("weights must be imagenet, random or a state-dict file, got ''.")
        if self.image_size < 1:
            raise BadInput(f"image_size must be at least 1 px, got {self.image_size}.")


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
    device: torch.device | str | None = None,
    batch_size: int | None = None,
) -> Features:
    """Features of all items, read from the cache or extracted in evaluation mode and put there.

    `fingerprint` is that of the items (pan_model.data.fingerprint). `progress` is called with the number of images
    done and to do, only when features are extracted. The device is CUDA where there is one. Raises BadInput when
    weights or cache folder cannot be used, and, unless they are to be skipped, when images cannot be read.
    """
    backbone = build_backbone(config.backbone, config.pooling)
    weights_sha256 = load_weights(backbone, config.weights)
    path = cache_path(cache_dir, fingerprint, config, weights_sha256)
    features = _read_cache(path, len(items), weights_sha256)
    if features is not None:
        check_readable(items, features.unreadable, skip_bad_images=skip_bad_images)
        return features
    check_writable(path.parent, "features")
    _place(backbone, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    values, unreadable = _extract(backbone, items, config.image_size, skip_bad_images, batch_size, progress)
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


def _place(backbone: Backbone, device: torch.device) -> None:
    backbone.eval().to(device)
    if device.type == "cpu":
        # Convolutions on a CPU take half the time when the channels of a pixel lie side by side.
        backbone.to(memory_format=torch.channels_last)


def _extract(
    backbone: Backbone,
    items: Items,
    image_size: int,
    skip_bad_images: bool,
    batch_size: int | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[Float[np.ndarray, "N D"], dict[str, str]]:
    """A row for every item, rows of unreadable images undefined, and what is wrong with those by name."""
    values = np.zeros((len(items), measure_feature_dim(backbone, image_size)), dtype=np.float32)
    batches = _batches(len(items), batch_size or (CPU_BATCH_SIZE if backbone.on_cpu else GPU_BATCH_SIZE))
    device_free = Semaphore(MAX_WORKERS if backbone.on_cpu else 1)
    hopeless = Event()  # a picture ends the extraction; the others are only looked through for the count of bad ones

    def work(indices: range) -> dict[str, str]:
        images, reasons = _read_batch(items, indices, image_size)
        if reasons and not skip_bad_images:
            hopeless.set()
        if images and not hopeless.is_set():
            with device_free:
                values[list(images)] = _forward(backbone, torch.stack(list(images.values())))
        return reasons

    unreadable: dict[str, str] = {}
    with _workers(torch.get_num_threads() if backbone.on_cpu else os.cpu_count() or 1) as pool:
        for indices, reasons in zip(batches, pool.map(work, batches), strict=True):
            unreadable |= reasons
            if progress is not None:
                progress(indices.stop, len(items))
    return values, unreadable


def _batches(num_items: int, batch_size: int) -> list[range]:
    """Cut the items into batches.

    >>> _batches(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(start, min(start + batch_size, num_items)) for start in range(0, num_items, batch_size)]


@contextmanager
def _workers(num_workers: int) -> Generator[ThreadPoolExecutor]:
    """Threads that each decode a batch, then run the network on it; what has not begun when the block ends is dropped.

    Torch computes on one core in each of them: threads that share one operation wait for the slowest at every layer,
    and the numbers would depend on how many they are.
    """
    num_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(min(num_workers, MAX_WORKERS), initializer=torch.set_num_threads, initargs=(1,))
    try:
        # TensorFloat-32 and kernels chosen by timing would let features depend on their batch and on the run.
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(num_threads)


def _read_batch(items: Items, indices: range, image_size: int) -> tuple[dict[int, Tensor], dict[str, str]]:
    """The images that can be read, by index, and what is wrong with the others, by name."""
    images: dict[int, Tensor] = {}
    reasons: dict[str, str] = {}
    for index in indices:
        try:
            images[index] = load_image(items.image_path(index), image_size)
        except BadInput as error:
            # The reason goes into the cache, which outlives the place where the images lie.
            reasons[items.image_names[index]] = reason_without_path(error, items.image_path(index))
    return images, reasons


@torch.inference_mode()
def _forward(backbone: Backbone, images: Float[Tensor, "N 3 H W"]) -> Float[np.ndarray, "N D"]:
    return backbone(images.to(backbone.device)).cpu().numpy()


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
        raise BadInput(
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
    with written_whole(path, "features") as temporary:
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
