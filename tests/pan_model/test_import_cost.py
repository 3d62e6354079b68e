"""Importing the library: modules that parse flags need no torch, and nothing changes the process's settings."""

import subprocess
import sys

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
assert not {"ray", "optuna", "rich", "pydantic"} & set(sys.modules)
"""


def test_flags_need_no_torch_and_importing_changes_no_setting():
    subprocess.run([sys.executable, "-c", CODE], check=True)
