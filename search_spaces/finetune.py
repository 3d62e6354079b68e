"""Search spaces for `--regime finetune`: a dataset's space with smaller steps and three backbone parameters.

The cost of a step grows with its images. A step has at most 64 images and an epoch at most 16 steps, so an epoch has at
most 1024 images whatever the size of the dataset, as many as 16 steps of 32 pairs. Fixed pairs and full-batch steps are
therefore not offered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import BaseTrial

from search_spaces.pan import IMAGES_PER_CLASS, STEPS_PER_EPOCH, Scalar, SearchSpace
from search_spaces.restriction import ForwardingTrial

PAIRS_PER_STEP = 32
"""Pairs of a step, two images each. A class-balanced step uses all pairs of its images, up to `pairs_per_epoch`."""

BACKBONE_WARMUP_EPOCHS = (0, 1, 5)
CROP_SCALES_MIN = (0.08, 0.25, 0.5)

NARROWED: dict[str, tuple[Scalar, ...]] = {
    "pairs": ("balanced", "fresh"),
    "classes_per_step": (4, 8, 16),
    "images_per_class": IMAGES_PER_CLASS[:2],
    "steps_per_epoch": STEPS_PER_EPOCH[1:],
}
"""The choices of the frozen space that remain when the backbone is trained."""

FINETUNE_OPEN_ENDS = {"backbone_learning_rate": ("low", "high")}
"""Open ends of the backbone's ranges, as in `search_spaces.pan.OPEN_ENDS`."""

FIRST_BACKBONE: dict[str, Scalar] = {
    "backbone_learning_rate": 1e-5,
    "backbone_warmup_epochs": 1,
    "crop_scale_min": 0.25,
}
"""Backbone parameters of the first trials: a low learning rate, after one warm-up epoch with a frozen backbone."""


def finetuned(space: SearchSpace) -> SearchSpace:
    """Return the space for trials that also train the backbone.

    The first trials are those of `space`, moved to the nearest remaining choices. The baseline `paper_setting` does not
    change: it uses a frozen backbone.
    """
    return replace(
        space,
        suggest=FinetunedSuggest(space.suggest),
        first_trials=tuple(_to_finetune(params) for params in space.first_trials),
    )


TRAINED_BACKBONE = "it needs the features of all training items in every step, which a trained backbone changes"
"""Why the graph encoder is not searched with `--regime finetune`."""


def without_graph(space: SearchSpace, why: str = TRAINED_BACKBONE) -> SearchSpace:
    """Return the space without the graph encoder, and the reason for it."""
    without = space.among([name for name in space.encoders if name != "graph"])
    return replace(
        without,
        more_encoders=tuple(name for name in without.more_encoders if name != "graph"),
        more_first_trials=tuple(trial for trial in without.more_first_trials if trial["encoder"] != "graph"),
        unsupported={"graph": why, **space.unsupported},
    )


@dataclass(frozen=True)
class FinetunedSuggest:
    """Suggest from the frozen space with fewer choices, and add the backbone's parameters."""

    frozen: Callable[..., dict[str, Scalar]]

    def __call__(self, trial: BaseTrial, encoders: Sequence[str] | None = None) -> dict[str, Scalar]:
        """Suggest the configuration of a trial; `encoders` restricts the encoders further."""
        narrowed = _NarrowedTrial(trial)
        config = self.frozen(narrowed) if encoders is None else self.frozen(narrowed, encoders=encoders)
        if config["pairs"] != "balanced":
            config["pairs_per_epoch"] = PAIRS_PER_STEP * int(config["steps_per_epoch"])
        return {
            **config,
            "backbone_learning_rate": trial.suggest_float("backbone_learning_rate", 1e-6, 1e-3, log=True),
            "backbone_warmup_epochs": trial.suggest_categorical("backbone_warmup_epochs", BACKBONE_WARMUP_EPOCHS),
            "crop_scale_min": trial.suggest_categorical("crop_scale_min", CROP_SCALES_MIN),
        }


class _NarrowedTrial(ForwardingTrial):
    """Forward suggestions to another trial, with the choices of `NARROWED`."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of the remaining choices."""
        remaining = NARROWED.get(name, choices)
        return super().suggest_categorical(name, tuple(choice for choice in choices if choice in remaining))


def _to_finetune(params: dict[str, Scalar]) -> dict[str, Scalar]:
    """Return a first trial of the frozen space with every removed choice replaced by the nearest remaining one."""
    nearest: dict[str, Scalar] = {}
    if params["pairs"] not in NARROWED["pairs"]:
        nearest["pairs"] = "fresh"
    if params["steps_per_epoch"] not in NARROWED["steps_per_epoch"]:
        nearest["steps_per_epoch"] = 16
    return {**params, **nearest, **FIRST_BACKBONE}
