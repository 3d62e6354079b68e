"""Search spaces: for each dataset, a define-by-run `suggest` function and the first trials of a study.

Imports Optuna's trial classes. Imports neither torch nor ray. Start reading at `pan.suggest_pan`, which all datasets
share. Each dataset's module sets the encoders, the pairs per epoch and the paper's settings. `finetune` derives the
spaces of `--regime finetune`, and `restriction` those of `--fix`, `--range` and `--choices`.
"""

from search_spaces import cub, demo, folder, inshop, polyvore
from search_spaces.pan import SearchSpace

SPACES: dict[str, SearchSpace] = {
    "demo": demo.SPACE,
    "cub": cub.SPACE,
    "inshop": inshop.SPACE,
    "polyvore": polyvore.SPACE,
    "folder": folder.SPACE,
}
"""The search space of each dataset. A new dataset adds one module and one row."""

UNLABELLED_SPACES: dict[str, SearchSpace] = {"folder": folder.UNLABELLED}
"""The search spaces of datasets whose images may have no attributes, for the case that they have none."""

RETRIEVAL_SPACES: dict[str, SearchSpace] = {
    "demo": demo.RETRIEVAL,
    "cub": cub.RETRIEVAL,
    "folder": folder.RETRIEVAL,
}
UNLABELLED_RETRIEVAL_SPACES: dict[str, SearchSpace] = {"folder": folder.UNLABELLED_RETRIEVAL}
"""The search spaces of datasets with a choice of the task, for `--task retrieval`."""
