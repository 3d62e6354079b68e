"""The backbone trainer: one epoch after another. Each depends only on the configuration and the epoch before it."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pan_model.backbones.architectures import Backbone, measure_feature_dim
from pan_model.backbones.precision import MixedPrecision
from pan_model.errors import UserError
from pan_model.images.batches import ImageBatches
from pan_model.reproducibility import seeded
from pan_model.shapes import Float, Int
from pan_model.training.backbone.config import BackboneTrainingConfig
from pan_model.training.backbone.objectives import build_objective
from pan_model.training.backbone.triplets import Groups

FIRST_WEIGHTS_PURPOSE, STEPS_PURPOSE, IMAGES_PURPOSE, NETWORK_PURPOSE = range(4)
"""Separate random numbers of different purposes that are drawn from the same seed."""


class BackboneTrainer:
    """Trains a backbone, in place, on the images of groups.

    Every random draw of epoch e depends on (seed, e), so that a training resumed from `state_dict` equals an
    uninterrupted one bit for bit, on one CPU with the same number of threads. Torch's random state is kept.

    Attributes:
        backbone: The backbone with its current weights.
        objective: The objective with its current weights.
        losses: The mean loss of each finished epoch.
    """

    def __init__(
        self,
        backbone: Backbone,
        groups: Groups,
        batches: ImageBatches,
        config: BackboneTrainingConfig,
        *,
        image_size: int,
        device: torch.device,
    ) -> None:
        feature_dim = measure_feature_dim(backbone, image_size)
        self._config = config
        self._batches = batches
        self._device = device
        self.losses: list[float] = []
        self.backbone = backbone.to(device)
        self.backbone.to(memory_format=torch.channels_last)  # convolutions are faster
        with self._random_numbers(FIRST_WEIGHTS_PURPOSE):
            self.objective = build_objective(groups, config, feature_dim).to(device)
        self._adam = torch.optim.Adam(
            [{"params": list(self.backbone.parameters())}, *self.objective.parameter_groups(config.learning_rate)],
            lr=config.learning_rate,
        )
        self._precision = MixedPrecision(device)

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.losses)

    def train_epoch(self, progress: Callable[[float], None] = lambda _: None) -> float:
        """Train for one epoch, and return the mean loss of its steps.

        Args:
            progress: Called with the finished share of the epoch, 0 to 1.

        Raises:
            UserError: The loss is not finite.
        """
        epoch = self.epoch + 1
        self._freeze(epoch <= self._config.warm_up_epochs)
        drawn = self.objective.draw_steps(np.random.default_rng([self._config.seed, STEPS_PURPOSE, epoch]))
        steps = [self._batches_of(items) for items in drawn]
        image_batches = self._batches.epoch(
            [batch for step in steps for batch in step], (self._config.seed, IMAGES_PURPOSE, epoch)
        )
        total = torch.zeros((), device=self._device)
        with self._random_numbers(NETWORK_PURPOSE, epoch):
            for number, step in enumerate(steps, start=1):
                total += self.train_step(step, image_batches)
                progress(number / len(steps))
        mean = float(total) / len(steps)
        if not math.isfinite(mean):
            raise UserError(
                f"the backbone's training has no finite loss in epoch {epoch}; give a learning_rate below "
                f"{self._config.learning_rate}."
            )
        self.losses.append(mean)
        return mean

    def train_step(
        self, batches: list[Int[np.ndarray, "_"]], image_batches: Iterator[Float[Tensor, "_ 3 H W"]]
    ) -> Float[Tensor, ""]:
        """Take an optimiser step, accumulating gradients over its batches, and return the loss on the device."""
        self._adam.zero_grad()
        size = sum(len(batch) for batch in batches)
        total = torch.zeros((), device=self._device)
        for items in batches:
            images = next(image_batches).to(self._device, non_blocking=True, memory_format=torch.channels_last)
            with self._precision.forward():
                features = self.backbone(images)
            # The loss subtracts squares, which needs 32 bits.
            loss = self.objective.loss(features.float(), items) * (len(items) / size)
            self._precision.backward(loss)
            total += loss.detach()
        self._precision.step(self._adam)
        return total

    def state_dict(self) -> dict[str, Any]:
        """Return what the next epoch depends on, besides the configuration and the images."""
        return {
            "losses": self.losses,
            "backbone": self.backbone.network.state_dict(),
            "objective": self.objective.state_dict(),
            "optimiser": self._adam.state_dict(),
            "precision": self._precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume after the last epoch of another trainer."""
        self.losses = list(state["losses"])
        self.backbone.network.load_state_dict(state["backbone"])
        self.objective.load_state_dict(state["objective"])
        self._adam.load_state_dict(state["optimiser"])
        self._precision.load_state_dict(state["precision"])

    def _freeze(self, frozen: bool) -> None:
        """Freeze or unfreeze the backbone: its weights and its BatchNorm statistics."""
        self.backbone.train(not frozen).requires_grad_(not frozen)

    def _batches_of(self, step: Int[np.ndarray, "_"]) -> list[Int[np.ndarray, "_"]]:
        """Split a step into batches of nearly equal size, of at most images_at_once images if `unit` allows it."""
        units = step.reshape(-1, self.objective.unit)
        batch_size = max(1, (self._config.images_at_once or len(step)) // self.objective.unit)
        return [batch.reshape(-1) for batch in np.array_split(units, math.ceil(len(units) / batch_size))]

    def _random_numbers(self, *purpose: int) -> AbstractContextManager[None]:
        """Return a block whose random numbers depend on the seed and the purpose."""
        seed = int(np.random.SeedSequence([self._config.seed, *purpose]).generate_state(1)[0])
        return seeded(seed, self._device)
