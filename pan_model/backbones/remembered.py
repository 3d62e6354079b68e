"""What earlier studies found out about a backbone and its weights, so that cached features need no backbone.

Building a backbone imports torchvision, which takes seconds. An entry is written when all images have gone through the
backbone. Its name holds everything that it depends on, the bytes of a weights file and the versions of the libraries
included.
"""

import hashlib
import json
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from pan_model.backbones.config import FeaturesConfig, WeightsSource
from pan_model.files import atomic_write, content_key

CACHE_FORMAT = "pan-study/backbone/1"
LIBRARIES = ("torch", "torchvision", "timm")


class Remembered(NamedTuple):
    """The weights of a backbone that accepts images of the configured size.

    Attributes:
        weights_sha256: The checksum of the backbone's weights.
        weights_part: The part of the weights file that was loaded; empty for all of it.
    """

    weights_sha256: str
    weights_part: str


def recall_backbone(config: FeaturesConfig, cache_dir: Path) -> Remembered | None:
    """Return what is known of a backbone and its weights; None if nothing is, or the weights file cannot be read."""
    try:
        content = json.loads(_entry(config, cache_dir).read_text(encoding="utf-8"))
        return Remembered(str(content["weights_sha256"]), str(content["weights_part"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remember_backbone(config: FeaturesConfig, cache_dir: Path, remembered: Remembered) -> None:
    """Write what is known of a backbone, after its features were extracted or found in the cache."""
    with suppress(OSError), atomic_write(_entry(config, cache_dir)) as temporary:
        temporary.write_text(json.dumps(remembered._asdict()), encoding="utf-8")


def _entry(config: FeaturesConfig, cache_dir: Path) -> Path:
    """Return the file of an entry; raise OSError if the weights file cannot be read."""
    weights = config.weights
    if WeightsSource.of(weights) is WeightsSource.FILE:
        weights = hashlib.sha256(Path(weights).expanduser().read_bytes()).hexdigest()
    key = content_key(
        CACHE_FORMAT,
        config.backbone,
        weights,
        config.pooling.value,
        config.transform.to_json(),
        [_version(library) for library in LIBRARIES],
        platform.machine(),  # random weights may differ between processors
    )
    return cache_dir / "backbones" / f"{key}.json"


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
