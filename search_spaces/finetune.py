"""A dataset's space for trials that train their backbone: the same parameters, fewer pictures a step, three more.

What a step costs is its pictures: at most 64 of them, and at most 16 steps an epoch, so that an epoch has at most 1024
pictures whatever the dataset's size, as many as 16 steps of 32 pairs have. Pairs that are drawn once for a trial, or
all in one step, are no choice here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import BaseTrial, FixedTrial

from search_spaces.pan import IMAGES_PER_CLASS, STEPS_PER_EPOCH, Scalar, SearchSpace

PAIRS_PER_STEP = 32
"""Of two pictures each. Balanced steps compare all of theirs, up to the dataset's own number of pairs."""

BACKBONE_WARMUP_EPOCHS = (0, 1, 5)
CROP_SCALES_MIN = (0.08, 0.25, 0.5)

NARROWED: dict[str, tuple[Scalar, ...]] = {
    "pairs": ("balanced", "fresh"),
    "classes_per_step": (4, 8, 16),
    "images_per_class": IMAGES_PER_CLASS[:2],
    "steps_per_epoch": STEPS_PER_EPOCH[1:],
}
"""What is left of the choices of the frozen space."""

FINETUNE_OPEN_ENDS = {"backbone_learning_rate": ("low", "high")}
"""Ends of ranges that are our guess, see `search_spaces.pan.OPEN_ENDS`."""

FIRST_BACKBONE: dict[str, Scalar] = {
    "backbone_learning_rate": 1e-5,
    "backbone_warmup_epochs": 1,
    "crop_scale_min": 0.25,
}
"""With which the first trials begin: the backbone moves slowly, once the rest has found its direction."""


def finetuned(space: SearchSpace) -> SearchSpace:
    """The space for training the backbone, too; its first trials are the frozen ones with the same recipe.

    The paper's setting as a baseline stays the frozen one.
    """
    return replace(
        space,
        suggest=FinetunedSuggest(space.suggest),
        first_trials=tuple(_moved(params) for params in space.first_trials),
    )


@dataclass(frozen=True)
class FinetunedSuggest:
    """Suggests what the frozen space suggests, within fewer choices, and how the backbone is trained."""

    frozen: Callable[[BaseTrial], dict[str, Scalar]]

    def __call__(self, trial: BaseTrial) -> dict[str, Scalar]:
        """Suggest a trial."""
        config = self.frozen(_NarrowedTrial(trial))
        if config["pairs"] != "balanced":
            config["pairs_per_epoch"] = PAIRS_PER_STEP * int(config["steps_per_epoch"])
        return {
            **config,
            "backbone_learning_rate": trial.suggest_float("backbone_learning_rate", 1e-6, 1e-3, log=True),
            "backbone_warmup_epochs": trial.suggest_categorical("backbone_warmup_epochs", BACKBONE_WARMUP_EPOCHS),
            "crop_scale_min": trial.suggest_categorical("crop_scale_min", CROP_SCALES_MIN),
        }


class _NarrowedTrial(FixedTrial):
    """Hands what it is asked on to another trial, with fewer choices."""

    def __init__(self, trial: BaseTrial) -> None:
        super().__init__({})
        self._trial = trial

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Ask for a number."""
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Ask for a whole number."""
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Ask for one of the choices that are left."""
        left = NARROWED.get(name, choices)
        return self._trial.suggest_categorical(name, tuple(choice for choice in choices if choice in left))


def _moved(params: dict[str, Scalar]) -> dict[str, Scalar]:
    """A frozen trial in this space: choices that it lacks give way to the nearest that it has."""
    nearest: dict[str, Scalar] = {}
    if params["pairs"] not in NARROWED["pairs"]:
        nearest["pairs"] = "fresh"
    if params["steps_per_epoch"] not in NARROWED["steps_per_epoch"]:
        nearest["steps_per_epoch"] = 16
    return {**params, **nearest, **FIRST_BACKBONE}
