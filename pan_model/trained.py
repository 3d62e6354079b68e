"""A trained model on disk: weights in safetensors, and beside them all that it takes to build the model again."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pan_model.config import TrialConfig
from pan_model.errors import BadInput
from pan_model.model import Pan

MODEL_SCHEMA = "pan-study/model/1"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_model(model: Pan, config: TrialConfig, features: dict[str, Any], folder: Path) -> None:
    """Write model.safetensors and config.json; features says which features the model takes (backbone, weights, ..)."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    (folder / WEIGHTS).touch()
    mode = (folder / WEIGHTS).stat().st_mode
    save_file(tensors, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(mode)  # save_file makes files that nobody else can read
    content = {
        "schema": MODEL_SCHEMA,
        "config": config.to_flat(),
        "features": features,
        "feature_dim": model.feature_dim,
        "num_classes": model.num_classes,
        "condition_names": list(model.condition_names),
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path | str) -> Pan:
    """Load a model in evaluation mode, on the CPU.

    Call it with the features of two images, (P, D) each, as its backbone gives them: the result has `score` (P,),
    `similarity` (P, M) and `relevance` (P, M), and `condition_names` names the M conditions. Raises BadInput when the
    folder holds no such model.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadInput(f"{folder}: must hold {CONFIG} and {WEIGHTS} of a trained model ({error}).") from error
    if not isinstance(content, dict) or content.get("schema") != MODEL_SCHEMA:
        raise BadInput(f"{folder / CONFIG}: schema must be {MODEL_SCHEMA}.")
    model = Pan(
        TrialConfig.from_flat(content["config"]),
        feature_dim=content["feature_dim"],
        num_classes=content["num_classes"],
        condition_names=tuple(content["condition_names"]),
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadInput(f"{folder / WEIGHTS}: does not fit {CONFIG} ({error}).") from error
    return model.eval()
