"""Modules that parse flags are imported without torch, which takes seconds to import."""

import subprocess
import sys

import pytest

TORCH_FREE = [
    "pan_model",
    "pan_model.datasets",
    "pan_model.backbones.config",
    "pan_model.training.backbone.config",
    "pan_model.model.encoders",
    "pan_model.tasks.metrics",
]


@pytest.mark.parametrize("module", TORCH_FREE)
def test_module_is_imported_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'torchvision', 'ray', 'optuna'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, f"{module} imports torch"
