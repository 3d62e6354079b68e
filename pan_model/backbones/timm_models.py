"""timm's models as backbones: `timm:NAME`. timm is an optional extra, imported by the functions that need it.

The features of a backbone are what timm's model returns without its classifier (`num_classes=0`). A name may have a tag
of pretrained weights, such as `timm:resnet50.a1_in1k`, which also determines the preprocessing.
"""

import importlib
import importlib.util
import logging
import math
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pan_model.backbones.config import TIMM, Pooling, timm_name
from pan_model.errors import UserError
from pan_model.images.preprocessing import CropMode, Interpolation, Preprocessing

INSTALLED_BY_MAKE = ".installed"
"""A file in environments that `make setup` has made."""


def install_command() -> str:
    """Return the command that installs timm into this environment, so that it is kept by later updates of it."""
    return "make setup" if (Path(sys.prefix) / INSTALLED_BY_MAKE).exists() else "pip install timm"


def import_timm() -> Any:
    """Import timm. Raise UserError if it is not installed."""
    if importlib.util.find_spec("timm") is None:
        raise UserError(f"backbones {TIMM}NAME need the package timm, which is not installed; run: {install_command()}")
    return importlib.import_module("timm")


def check_timm_name(backbone: str) -> None:
    """Raise UserError, with the closest names, unless timm has the model and the tag of pretrained weights.

    Args:
        backbone: The name after `timm:` is that of a model of the installed timm, with or without a tag. Models of the
            Hugging Face hub (hf-hub:) and of folders are refused: their configuration is not part of timm.
    """
    name = timm_name(backbone)
    if any(mark in name for mark in ":/\\"):
        raise UserError(
            f"backbone {backbone!r} must name a model of the installed timm, got an address; give the name of its "
            "architecture, such as timm:resnet50, and its weights with --weights FILE."
        )
    timm = import_timm()
    architecture, _, tag = name.partition(".")
    names: list[str] = timm.list_models()
    if architecture not in names:
        near = get_close_matches(architecture, names, n=3, cutoff=0.3) or ["resnet50"]
        raise UserError(f"unknown backbone {backbone!r}; choose a model of timm such as {_join(near)}.")
    tags = [tagged.partition(".")[2] for tagged in _tagged_names(architecture)]
    if tag and tag not in tags:
        near = get_close_matches(tag, tags, n=3, cutoff=0.0)
        such_as = f"choose {_join([architecture, *(f'{architecture}.{choice}' for choice in near)])}"
        raise UserError(f"unknown tag {tag!r} of backbone {TIMM}{architecture}; {such_as}.")


def _join(names: list[str]) -> str:
    return ", ".join(TIMM + name for name in names)


def _tagged_names(architecture: str) -> list[str]:
    models = importlib.import_module("timm.models")
    return list(models.get_arch_pretrained_cfgs(architecture))


def timm_preprocessing(backbone: str, image_size: int | None = None) -> Preprocessing:
    """Return the evaluation transform of the model's own configuration (`timm.data.resolve_data_config`).

    A crop percentage above 1 (three volo models), which pads images with black, is taken as 1.

    Args:
        backbone: A name with the prefix `timm:`.
        image_size: Side of the square images, px; by default the model's own.

    Raises:
        UserError: The model takes only images of another size, or none that are square and have three channels.
    """
    check_timm_name(backbone)
    published = _published(backbone)
    values = importlib.import_module("timm.data").resolve_data_config(pretrained_cfg=published)
    channels, height, width = values["input_size"]
    if channels != 3 or height != width:
        raise UserError(
            f"backbone {backbone} takes images of {height} x {width} px and {channels} channels; choose one that takes "
            "square colour images."
        )
    size = height if image_size is None else image_size
    if published.get("fixed_input_size") and size != height:
        raise UserError(
            f"backbone {backbone} takes images of {height} px only, got image_size {size}; leave --image-size out, or "
            "choose another backbone."
        )
    return Preprocessing(
        image_size=size,
        resize_size=math.floor(size / min(values["crop_pct"], 1.0)),
        interpolation=Interpolation(values["interpolation"]),
        mean=tuple(values["mean"]),
        std=tuple(values["std"]),
        crop_mode=CropMode(values["crop_mode"]),
    )


@cache
def _published(backbone: str) -> dict[str, Any]:
    """Return timm's configuration of the model's pretrained weights; empty if the model has none."""
    import_timm()
    config = importlib.import_module("timm.models").get_pretrained_cfg(timm_name(backbone))
    return {} if config is None else config.to_dict()


def build_timm(backbone: str, pooling: Pooling) -> tuple[nn.Module, frozenset[str]]:
    """Build a model without its classifiers, and return it with the state-dict keys of these.

    Args:
        backbone: A name with the prefix `timm:`.
        pooling: avg is the model's own pooling: of most CNNs the average, of many vision transformers a token.

    Raises:
        UserError: The name is unknown, or the model does not support maximum pooling.
    """
    check_timm_name(backbone)
    model: Any = import_timm().create_model(timm_name(backbone), pretrained=False)
    keys = frozenset(model.state_dict())
    model.reset_classifier(0)
    kept = frozenset(model.state_dict())
    if pooling is Pooling.MAX:
        _pool_maximum(backbone, model)
    return model, keys - kept


def _pool_maximum(backbone: str, model: Any) -> None:
    """Let a model pool the maximum. The state-dict keys do not change.

    Some models accept other poolings than they support, and ignore them: their features are compared.
    """
    refusal = UserError(
        f"pooling max: backbone {backbone} has no map of features that timm can pool by its maximum; choose avg, or "
        "another backbone."
    )
    keys = list(model.state_dict())
    shape = importlib.import_module("timm.data").resolve_data_config(pretrained_cfg=_published(backbone))["input_size"]
    image = torch.linspace(-2, 2, math.prod(shape), device="cpu").reshape(1, *shape)
    on_meta = next(model.parameters()).is_meta
    was_training = model.training
    model.eval()
    try:
        average = None if on_meta else _forward(model, image)
        model.reset_classifier(0, "max")
        maximum = None if on_meta else _forward(model, image)
    except (AssertionError, RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise refusal from error
    finally:
        model.train(was_training)
    if list(model.state_dict()) != keys:
        raise refusal
    if average is not None and maximum is not None and (average.shape != maximum.shape or average.equal(maximum)):
        raise refusal


@torch.inference_mode()
def _forward(model: nn.Module, image: Tensor) -> Tensor:
    return model(image)


def convert_state(backbone: str, network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Convert weights of a model's original authors to timm's keys; None if timm has no conversion for the model."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return None
    with torch.device("meta"):  # conversions need the layers and shapes of the model only
        whole: Any = import_timm().create_model(timm_name(backbone), pretrained=False)
    try:
        converted = convert(dict(state), whole)
    except (LookupError, RuntimeError, TypeError, ValueError, AssertionError, AttributeError):
        return None
    if not isinstance(converted, dict) or not all(isinstance(value, Tensor) for value in converted.values()):
        return None
    return cast("dict[str, Tensor]", converted)


def download_timm(backbone: str) -> Path:
    """Download the pretrained weights of a model from the Hugging Face hub, or return them from its cache.

    Raises:
        UserError: timm publishes no weights of the model, or they cannot be downloaded.
    """
    published = _published(backbone)
    repository: str | None = published.get("hf_hub_id")
    if not repository:
        others = [
            name
            for name in _tagged_names(timm_name(backbone).partition(".")[0])
            if _published(TIMM + name).get("hf_hub_id")
        ]
        elsewhere = f"choose {_join(others[:3])}, or give" if others else "give"
        raise UserError(
            f"weights imagenet: the Hugging Face hub has none of backbone {backbone}; {elsewhere} --weights random or "
            "--weights FILE."
        )
    hub: Any = importlib.import_module("huggingface_hub")
    names = (
        [published["hf_hub_filename"]]
        if published.get("hf_hub_filename")
        else ["model.safetensors", "pytorch_model.bin"]
    )
    for name in names:
        try:
            with _without_warnings("huggingface_hub"):  # it warns at every attempt to connect
                return Path(hub.hf_hub_download(repository, name, etag_timeout=10))
        except hub.errors.EntryNotFoundError as error:
            if name != names[-1] and not isinstance(error, hub.errors.LocalEntryNotFoundError):
                continue
            raise _not_downloaded(backbone, repository, name, error) from error
        except (OSError, RuntimeError, ValueError) as error:
            raise _not_downloaded(backbone, repository, name, error) from error
    raise AssertionError("a file was returned or an error raised")


@contextmanager
def _without_warnings(name: str) -> Generator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _not_downloaded(backbone: str, repository: str, name: str, error: Exception) -> UserError:
    cause: BaseException = error
    while following := cause.__cause__ or cause.__context__:
        cause = following
    reason = str(cause).strip().splitlines() or [type(cause).__name__]
    return UserError(
        f"weights imagenet of backbone {backbone} cannot be downloaded ({reason[0].rstrip('.')}); download "
        f"https://huggingface.co/{repository}/resolve/main/{name} elsewhere and give the file with --weights FILE."
    )
