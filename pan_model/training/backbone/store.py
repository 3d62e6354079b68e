"""The cache files of a backbone training: the state after the last epoch, and finally the trained weights."""

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from pan_model.backbones.config import FeaturesConfig
from pan_model.backbones.weights_files import LOAD_ERRORS
from pan_model.files import atomic_cache_write, content_key
from pan_model.training.backbone.config import BackboneTrainingConfig
from pan_model.training.backbone.triplets import Groups

CACHE_FORMAT = "pan-study/backbone/1"
WHAT = "the trained backbone"


@dataclass(frozen=True, kw_only=True)
class TrainedBackbone:
    """A trained backbone: weights for FeaturesConfig and --weights.

    Attributes:
        path: A state-dict file with the library's keys, without the classifier's.
        losses: The mean training loss of each epoch.
        from_cache: Whether the file existed before.
    """

    path: Path
    losses: tuple[float, ...]
    from_cache: bool

    def __fspath__(self) -> str:
        return str(self.path)


def training_key(
    fingerprint: str,
    image_names: tuple[str, ...],
    groups: Groups,
    features: FeaturesConfig,
    weights_sha256: str,
    config: BackboneTrainingConfig,
) -> str:
    """Return the sha256 of everything that the result of a training depends on.

    Args:
        fingerprint: The fingerprint of the dataset.
        image_names: The names of the training images.
        groups: The groups of the images, as positions in `image_names`.
        features: The backbone, its pooling and the preprocessing.
        weights_sha256: The checksum of the initial weights.
        config: The configuration of the training.
    """
    images = hashlib.sha256(json.dumps(image_names).encode())
    for indices in groups:
        images.update(indices.astype("<i8").tobytes())
    network = [features.backbone, features.pooling, features.image_size, weights_sha256]
    preprocessing = [] if features.transform.is_usual else [features.transform.to_json()]  # the only one before 0.2
    return content_key(CACHE_FORMAT, fingerprint, images.hexdigest(), *network, asdict(config), *preprocessing)


class TrainingStore:
    """The files of a training in the cache folder: `backbones/<key>.safetensors`, and `<key>.pt` until it exists."""

    def __init__(self, cache_dir: Path, key: str) -> None:
        self.path = cache_dir / "backbones" / f"{key}.safetensors"
        self._checkpoint = self.path.with_suffix(".pt")

    def trained(self) -> TrainedBackbone | None:
        """Return the trained backbone; None if there is no file or it is damaged."""
        try:
            with safe_open(self.path, framework="numpy") as file:
                losses = json.loads((file.metadata() or {})["losses"])
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        return TrainedBackbone(path=self.path, losses=tuple(losses), from_cache=True)

    def save_trained(self, network: nn.Module, losses: list[float]) -> TrainedBackbone:
        """Write the trained weights, and remove the state of the last epoch."""
        state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        content = safetensors.torch.save(state, {"losses": json.dumps(losses)})
        with atomic_cache_write(self.path, WHAT) as temporary:
            temporary.write_bytes(content)
        self._checkpoint.unlink(missing_ok=True)
        return TrainedBackbone(path=self.path, losses=tuple(losses), from_cache=False)

    def checkpoint(self) -> dict[str, Any] | None:
        """Return the state after the last finished epoch; None if there is no file or it is damaged."""
        try:
            return torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        except LOAD_ERRORS:
            return None

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the state after an epoch, replacing the previous one."""
        buffer = io.BytesIO()  # torch.save to a file hides the error of a full disk
        torch.save(state, buffer)
        with atomic_cache_write(self._checkpoint, WHAT) as temporary:
            temporary.write_bytes(buffer.getbuffer())
