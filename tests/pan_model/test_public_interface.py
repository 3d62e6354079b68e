"""Importing the library: flags need no torch, timm's models alone need timm, and no setting of the process changes."""

import subprocess
import sys

import pytest

import pan_model
from pan_model.images.decoding import load_image

CODE = """
import importlib, os, sys

for module in (
    "pan_model",
    "pan_model.datasets",
    "pan_model.backbones.config",
    "pan_model.training.backbone.config",
    "pan_model.model.encoders",
    "pan_model.tasks.metrics",
):
    importlib.import_module(module)
    heavy = {"torch", "torchvision", "ray", "optuna"} & set(sys.modules)
    assert not heavy, f"{module} imports {heavy}"

import torch

def settings():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.get_rng_state().tolist(),
        dict(os.environ),
    )

before = settings()
import pan_model.trained, pan_model.training.trainer, pan_model.training.backbone.training, pan_model.backbones.features
assert settings() == before

from pan_model.backbones.architectures import build_backbone

build_backbone("squeezenet1_1")
heavy = {"ray", "optuna", "rich", "pydantic", "timm", "huggingface_hub"} & set(sys.modules)
assert not heavy, heavy
"""


def test_flags_need_no_torch_and_importing_changes_no_setting():
    subprocess.run([sys.executable, "-c", CODE], check=True)


def test_public_names_are_imported_on_first_use():
    assert pan_model.load_image is load_image
    for name in pan_model.__all__:
        assert getattr(pan_model, name) is not None
        assert name in dir(pan_model)
    with pytest.raises(AttributeError, match="module 'pan_model' has no attribute 'load_mode'"):
        _ = pan_model.load_mode  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
