"""Weights of a backbone: ImageNet's, random ones, or a state-dict file."""

import hashlib
import io
import pickle
import re
import sys
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import cast
from urllib.parse import urlparse

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pan_model.backbones.architectures import Backbone, build_backbone
from pan_model.backbones.config import WeightsSource
from pan_model.errors import UserError
from pan_model.fetch import Checksum, FetchConfig, FetchError, fetch, first_line, origin_file, show_progress
from pan_model.files import atomic_write

StateDict = Mapping[str, Tensor]

LOAD_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    AttributeError,
    TypeError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""Errors that torch.load and safetensors raise for files that are truncated, corrupt, or hold more than tensors."""


def load_weights(backbone: Backbone, weights: str, *, folder: Path | None = None) -> str:
    """Load weights into a backbone.

    Args:
        backbone: The backbone; unchanged if this function raises.
        weights: imagenet, random (drawn with seed 0; torch's random state is kept), or the path of a state-dict file.
        folder: Where ImageNet weights are kept; by default torch hub's folder.

    Returns:
        The sha256 of the file's bytes; for random weights, of the tensors.

    Raises:
        UserError: The weights cannot be read or downloaded, or do not fit the backbone.
    """
    match WeightsSource.of(weights):
        case WeightsSource.RANDOM:
            return _load_random(backbone)
        case WeightsSource.IMAGENET:
            return load_weights_file(backbone, download_weights(imagenet_url(backbone.name), folder or hub_folder()))
        case WeightsSource.FILE:
            return load_weights_file(backbone, Path(weights).expanduser())


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
    """Load a state-dict file (.safetensors, else torch.save's format), and return the sha256 of its bytes.

    Only the classifier's keys may be missing, and no other keys may be present; the classifier's keys are ignored.

    Raises:
        UserError: The file cannot be read or does not fit; the backbone is unchanged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"weights {path}: no such file; give imagenet, random or a state-dict file.") from error
    except OSError as error:
        raise UserError(f"weights {path}: cannot be read ({first_line(error)}).") from error
    state = {_current_key(key): value for key, value in _read_state_dict(path, content).items()}
    given = {key: value for key, value in state.items() if key not in backbone.classifier_keys}
    _check_fit(backbone, given, path)
    # The network's state dict holds the versions of its modules, which most files lack and mnasnet requires.
    complete = backbone.network.state_dict()
    complete.update(given)
    backbone.network.load_state_dict(complete)
    return hashlib.sha256(content).hexdigest()


def _load_random(backbone: Backbone) -> str:
    state = build_backbone(backbone.name).network.state_dict()
    backbone.network.load_state_dict(state)
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _read_state_dict(path: Path, content: bytes) -> StateDict:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about archives that it then rejects
            if path.suffix == ".safetensors":
                state: object = safetensors.torch.load(content)
            else:
                state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        raise UserError(
            f"weights {path}: truncated, or not a file of tensors only ({type(error).__name__}); "
            "save one with torch.save(model.state_dict(), FILE) or as .safetensors."
        ) from error
    return _check_state_dict(state, path)


def _check_state_dict(state: object, path: Path) -> StateDict:
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"weights {path}: must hold a state dict, name to tensor, got {_describe(state)}.")
    for name, value in cast("Mapping[object, object]", state).items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(
                f"weights {path}: must hold a state dict, name to tensor, got {name!r}: {_describe(value)}."
            )
        if not value.isfinite().all():
            raise UserError(f"weights {path}: values must be finite, {name} holds NaN or infinity.")
    return cast("StateDict", state)


def _check_fit(backbone: Backbone, state: StateDict, path: Path) -> None:
    expected = backbone.network.state_dict()
    # Files of torch < 0.4.1 lack num_batches_tracked, which does not affect features.
    missing = [key for key in expected if key not in state and not key.endswith(".num_batches_tracked")]
    left_over = [key for key in state if key not in expected]
    reshaped = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    faults = [_count_keys(missing, "missing"), _count_keys(left_over, "left over")]
    if reshaped:
        first = reshaped[0]
        shapes = f"{tuple(state[first].shape)} instead of {tuple(expected[first].shape)}"
        faults.append(f"{_count_keys(reshaped, 'of another shape')}: {shapes}")
    if missing or left_over or reshaped:
        raise UserError(
            f"weights {path} do not fit backbone {backbone.name}: {'; '.join(filter(None, faults))}. "
            "Only the classifier's keys may be missing and none may be left over."
        )


def _count_keys(keys: list[str], fault: str) -> str:
    """Return how many keys have a fault, and the first of them; an empty string for no keys.

    >>> _count_keys(["conv1.weight", "bn1.bias"], "missing")
    '2 keys missing (first conv1.weight)'
    """
    return f"{len(keys)} key{'s' if len(keys) > 1 else ''} {fault} (first {keys[0]})" if keys else ""


def _current_key(key: str) -> str:
    """Return the current name of a state-dict key: densenet's published files use older names.

    >>> _current_key("features.denseblock1.denselayer2.norm.1.weight")
    'features.denseblock1.denselayer2.norm1.weight'
    """
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def _sha256_prefix(file_name: str) -> str:
    """Return the start of the sha256 in a weights file's name; an empty string if it has none.

    >>> _sha256_prefix("resnet50-0676ba61.pth")
    '0676ba61'
    """
    match = re.search(r"-([a-f0-9]{8,})\.", file_name)
    return match.group(1) if match else ""


def _describe(value: object) -> str:
    """Return the name of a value's type, marked if the value is empty.

    >>> _describe([1]), _describe({})
    ('list', 'an empty dict')
    """
    return type(value).__name__ if isinstance(value, Tensor) or value else f"an empty {type(value).__name__}"
