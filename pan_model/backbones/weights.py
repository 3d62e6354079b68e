"""Weights of a backbone: ImageNet's, random ones, or a state-dict file."""

import hashlib
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlparse

import torch

from pan_model.backbones.architectures import Backbone, build_backbone
from pan_model.backbones.config import TIMM, WeightsSource
from pan_model.backbones.state_dicts import find_state_dict
from pan_model.backbones.timm_models import download_timm
from pan_model.backbones.weights_files import read_weights_file
from pan_model.errors import UserError
from pan_model.fetch import Checksum, FetchConfig, FetchError, fetch, first_line, origin_file, show_progress
from pan_model.files import atomic_write


def load_weights(backbone: Backbone, weights: str, *, folder: Path | None = None) -> str:
    """Load weights into a backbone.

    Args:
        backbone: The backbone; unchanged if this function raises.
        weights: imagenet (of timm's models the pretrained weights), random (drawn with seed 0; torch's random state is
            kept), or the path of a state-dict file.
        folder: Where torchvision's ImageNet weights are kept; by default torch hub's folder.

    Returns:
        The sha256 of the file's bytes; for random weights, of the tensors.

    Raises:
        UserError: The weights cannot be read or downloaded, or do not fit the backbone.
    """
    match WeightsSource.of(weights):
        case WeightsSource.RANDOM:
            return _load_random(backbone)
        case WeightsSource.IMAGENET:
            return load_weights_file(backbone, _download(backbone.name, folder or hub_folder()))
        case WeightsSource.FILE:
            return load_weights_file(backbone, Path(weights).expanduser())


def _download(name: str, folder: Path) -> Path:
    """Return the file of a model's published weights; timm's come from the Hugging Face hub, into its own cache."""
    return download_timm(name) if name.startswith(TIMM) else download_weights(imagenet_url(name), folder)


def imagenet_url(name: str) -> str:
    """Return the URL of a model's ImageNet weights: version IMAGENET1K_V1 if published, else the first version.

    >>> imagenet_url("resnet50")
    'https://download.pytorch.org/models/resnet50-0676ba61.pth'
    """
    from torchvision import models

    published = {version.name: version for version in models.get_model_weights(name)}
    first = min(published.values(), key=lambda version: version.meta["min_size"])
    return published.get("IMAGENET1K_V1", first).url


def hub_folder() -> Path:
    """Return the folder in which torch hub keeps downloaded weights (set by TORCH_HOME)."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def download_weights(url: str, folder: Path, *, config: FetchConfig | None = None) -> Path:
    """Download a weights file unless `folder` holds it. The bytes must match the `-<sha256 prefix>` of the name.

    Args:
        url: The address of the file.
        folder: The folder to download to; created if it does not exist.
        config: Timeouts and retries of the download.

    Returns:
        The path of the file.

    Raises:
        UserError: The file cannot be downloaded or written.
    """
    path = folder / Path(urlparse(url).path).name
    prefix = _sha256_prefix(path.name)
    if path.is_file() and Checksum("sha256", prefix).fits(path):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch_whole(url, path, Checksum("sha256", prefix), config)
    except (OSError, FetchError) as error:
        raise UserError(
            f"weights imagenet cannot be downloaded from {url} to {folder} ({first_line(error)}); "
            "download the file elsewhere and give it with --weights FILE."
        ) from error
    return path


def _fetch_whole(url: str, path: Path, checksum: Checksum, config: FetchConfig | None) -> None:
    """Download to a temporary file and rename it when complete. Several processes may download the same weights."""
    progress_bar = show_progress() if sys.stderr.isatty() else nullcontext()
    with atomic_write(path) as temporary, progress_bar as progress:
        try:
            fetch(url, temporary, checksum, config=config or FetchConfig(), progress=progress)
        finally:
            origin_file(temporary).unlink(missing_ok=True)


def load_weights_file(backbone: Backbone, path: Path) -> str:
    """Load a file of safetensors or of torch.save, and return the sha256 of its bytes.

    It holds a state dict, or a checkpoint with one, whose keys may have a prefix (`pan_model.backbones.state_dicts`).
    `backbone.weights_part` then says what was taken. Only the classifier's keys may be missing, and no other keys may
    be present; the classifier's keys are ignored.

    Raises:
        UserError: The file cannot be read or does not fit; the backbone is unchanged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"weights {path}: no such file; give imagenet, random or a state-dict file.") from error
    except OSError as error:
        raise UserError(f"weights {path}: cannot be read ({first_line(error)}).") from error
    part = find_state_dict(read_weights_file(path, content), backbone, path)
    # The network's state dict holds the versions of its modules, which most files lack and mnasnet requires.
    complete = backbone.network.state_dict()
    complete.update(part.state)
    backbone.network.load_state_dict(complete)
    backbone.weights_part = str(part)
    return hashlib.sha256(content).hexdigest()


def _load_random(backbone: Backbone) -> str:
    state = build_backbone(backbone.name).network.state_dict()
    backbone.network.load_state_dict(state)
    backbone.weights_part = ""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _sha256_prefix(file_name: str) -> str:
    """Return the start of the sha256 in a weights file's name; an empty string if it has none.

    >>> _sha256_prefix("resnet50-0676ba61.pth")
    '0676ba61'
    """
    match = re.search(r"-([a-f0-9]{8,})\.", file_name)
    return match.group(1) if match else ""
