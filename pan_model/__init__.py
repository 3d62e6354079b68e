"""PAN, the pairwise attribute-informed similarity network (Mishra et al., ICCV 2021), as a plain PyTorch library.

The names in `__all__` are the public interface. Each is imported on first use, so that importing the package loads
neither torch nor torchvision.

    >>> import pan_model
    >>> sorted(pan_model.DATASETS)
    ['cub', 'demo', 'folder', 'inshop', 'polyvore']

A folder imports only its own level of this list and those before it:

- the modules that are not named below, such as `errors.py`, `shapes.py`, `objective.py`, `scores.py` and `files.py`
- `data`
- `images`
- `backbones`
- `model`
- `tasks`
- `scoring`
- `training`, `config.py`
- `trained.py`, `datasets.py`, `pan_scorer.py`; `data/download` is a command and may import `datasets.py`

Start reading at `model/pan.py` for the network, or at `training/trainer.py` for how a trial is trained.
"""

import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pan_model.config import TrialConfig
    from pan_model.datasets import DATASETS, find_dataset
    from pan_model.images.decoding import load_image
    from pan_model.model.pan import Pan
    from pan_model.scoring.all_pairs import most_similar
    from pan_model.trained import load_backbone, load_explainer, load_index, load_model, load_preprocessing

__all__ = [
    "DATASETS",
    "Pan",
    "TrialConfig",
    "find_dataset",
    "load_backbone",
    "load_explainer",
    "load_image",
    "load_index",
    "load_model",
    "load_preprocessing",
    "most_similar",
]

_MODULES = {
    "DATASETS": "pan_model.datasets",
    "Pan": "pan_model.model.pan",
    "TrialConfig": "pan_model.config",
    "find_dataset": "pan_model.datasets",
    "load_backbone": "pan_model.trained",
    "load_explainer": "pan_model.trained",
    "load_image": "pan_model.images.decoding",
    "load_index": "pan_model.trained",
    "load_model": "pan_model.trained",
    "load_preprocessing": "pan_model.trained",
    "most_similar": "pan_model.scoring.all_pairs",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return pkgutil.resolve_name(f"{_MODULES[name]}:{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
