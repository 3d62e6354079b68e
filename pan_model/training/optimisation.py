"""Optimisation: AdamW with a schedule, weight decay, and decay towards the initial weights."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from pan_model.errors import UserError

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""The constants of AdamW, as torch has them."""


class Schedule(StrEnum):
    """The learning rate over time: constant, or half a cosine from its value to 0 over the epochs of the schedule.

    The cosine starts again from its value if a trial has more epochs than its schedule (warm restarts: SGDR,
    Loshchilov & Hutter, ICLR 2017).
    """

    CONSTANT = "constant"
    COSINE = "cosine"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained: AdamW from a seed.

    Both decays are decoupled from the gradient: a step moves weights by learning_rate * decay of the distance.

    Attributes:
        learning_rate: The initial learning rate.
        schedule: The learning rate over time.
        weight_decay: Decay towards 0.
        start_decay: Decay towards the initial weights (L2-SP; Li et al., ICML 2018).
        feature_dropout: The share of an item's normalised features that is dropped in training.
        patience: Epochs without a better validation value after which a trial ends; 0 disables early stopping.
        max_epochs: The number of epochs.
        schedule_epochs: The epochs of the schedule; None for max_epochs. A trial that gets more epochs later keeps the
            number that it was begun with.
        seed: Determines initial weights, pairs and dropout.
    """

    learning_rate: float = 1e-3
    schedule: Schedule = Schedule.CONSTANT
    weight_decay: float = 0.0
    start_decay: float = 0.0
    feature_dropout: float = 0.0
    patience: int = 0
    max_epochs: int
    schedule_epochs: int | None = None
    seed: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UserError(f"learning_rate must be a finite number above 0, got {self.learning_rate}.")
        for name in ("weight_decay", "start_decay"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise UserError(f"{name} must be a finite number of at least 0, got {getattr(self, name)}.")
        if not (math.isfinite(self.feature_dropout) and 0 <= self.feature_dropout < 1):
            raise UserError(f"feature_dropout must lie in [0, 1), got {self.feature_dropout}.")
        if self.patience < 0:
            raise UserError(f"patience must be 0 (no early stopping) or more epochs, got {self.patience}.")
        if self.max_epochs < 1:
            raise UserError(f"max_epochs must be at least 1, got {self.max_epochs}.")
        if self.schedule_epochs is not None and self.schedule_epochs < 1:
            raise UserError(f"schedule_epochs must be at least 1, got {self.schedule_epochs}.")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"seed must be at least 0 and below 2**63, got {self.seed}.")


class Optimisation:
    """AdamW over parameter groups, with a schedule.

    A group may set its own "lr", "weight_decay" and "start_decay". The initial weights are those at construction. They
    are not part of the state: a resumed run constructs them again.

    The update is that of `torch.optim.AdamW`, whose constructor and first step import torch's compiler: seconds in
    every worker of a study.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], config: TrainConfig, *, steps_per_epoch: int) -> None:
        defaults = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "start_decay": config.start_decay}
        self._groups: list[dict[str, Any]] = [{**defaults, **group} for group in groups]
        for group in self._groups:
            group["params"] = list(group["params"])
        self._moments: dict[Tensor, dict[str, Tensor]] = {}
        self._steps = 0
        self._config = config
        self._num_steps = (config.schedule_epochs or config.max_epochs) * steps_per_epoch
        self._first = [[weight.detach().clone() for weight in group["params"]] for group in self._groups]

    def zero_grad(self) -> None:
        """Reset the gradients."""
        for weight in self._weights():
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take a step of AdamW, then decay towards the initial weights."""
        share = self._share()
        for group, first in zip(self._groups, self._first, strict=True):
            rate = group["lr"] * share
            self._update([weight for weight in group["params"] if weight.grad is not None], rate, group["weight_decay"])
            if pull := min(1.0, rate * group["start_decay"]):
                for weight, start in zip(group["params"], first, strict=True):
                    weight.lerp_(start, pull)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step depends on, besides the weights."""
        moments = {
            number: dict(self._moments[weight])
            for number, weight in enumerate(self._weights())
            if weight in self._moments
        }
        rates = [{"lr": group["lr"] * self._share()} for group in self._groups]
        return {"adam": {"state": moments, "param_groups": rates}, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of another optimisation, whose schedule may have ended where this one continues."""
        weights = list(self._weights())
        self._moments = {
            weights[number]: {name: _like(value, weights[number], name) for name, value in moments.items()}
            for number, moments in state["adam"]["state"].items()
        }
        self._steps = state["steps"]

    def _weights(self) -> Iterator[Tensor]:
        return (weight for group in self._groups for weight in group["params"])

    def _share(self) -> float:
        """Return the factor of the learning rate in the next step."""
        restarts = self._config.schedule_epochs is not None
        done = (self._steps % self._num_steps if restarts else self._steps) / self._num_steps
        return share_of_learning_rate(self._config.schedule, done)

    def _update(self, weights: list[Tensor], rate: float, weight_decay: float) -> None:
        """Take a step of AdamW on the weights of a group that have gradients."""
        for weight in weights:
            if weight not in self._moments:
                self._moments[weight] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(weight, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(weight, memory_format=torch.preserve_format),
                }
        moments = [self._moments[weight] for weight in weights]
        on_cpu = all(weight.device.type == "cpu" for weight in weights)
        adamw(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            [moment["exp_avg"] for moment in moments],
            [moment["exp_avg_sq"] for moment in moments],
            [],
            [moment["step"] for moment in moments],
            fused=on_cpu or None,  # one pass over each weight; on a GPU by default one pass over all of them
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=weight_decay,
            eps=EPSILON,
            maximize=False,
        )


def _like(value: Tensor, weight: Tensor, name: str) -> Tensor:
    """Copy a moment to the device and type of its weight; the count of steps stays on the CPU."""
    return value.clone() if name == "step" else value.to(weight, copy=True)


def share_of_learning_rate(schedule: Schedule, done: float) -> float:
    """Return the factor of the learning rate after a share `done`, 0 to 1, of all steps.

    >>> [round(share_of_learning_rate(Schedule.COSINE, done), 3) for done in (0, 0.5, 1)]
    [1.0, 0.5, 0.0]
    """
    if schedule is Schedule.CONSTANT:
        return 1.0
    return (1 + math.cos(math.pi * min(done, 1.0))) / 2
