"""Trains a backbone, one epoch after another, each depending on the configuration and the epoch before it alone."""

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
"""Keep random numbers for different purposes apart, drawn from the same seed."""


class BackboneTrainer:
    """Trains a backbone, in place, on images of groups; groups hold the images' positions.

    Every random draw of epoch e comes from (seed, e): a training continued from `state_dict` equals one that was never
    interrupted, bit for bit on one CPU with the same number of threads. The caller's random numbers are left alone.
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
        self.backbone.to(memory_format=torch.channels_last)  # convolutions are faster that way
        with self._random_numbers(FIRST_WEIGHTS_PURPOSE):
            self.objective = build_objective(groups, config, feature_dim).to(device)
        self._adam = torch.optim.Adam(
            [{"params": list(self.backbone.parameters())}, *self.objective.parameter_groups(config.learning_rate)],
            lr=config.learning_rate,
        )
        self._precision = MixedPrecision(device)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.losses)

    def train_epoch(self, progress: Callable[[float], None] = lambda _: None) -> float:
        """Train for one epoch; gives the mean loss of its steps. progress is called with the share that is done.

        Raises UserError when the loss is no longer finite.
        """
        epoch = self.epoch + 1
        self._freeze(epoch <= self._config.warm_up_epochs)
        steps = self.objective.draw_steps(np.random.default_rng([self._config.seed, STEPS_PURPOSE, epoch]))
        pieces = [self._pieces(step) for step in steps]
        image_batches = self._batches.epoch(
            [piece for step in pieces for piece in step], (self._config.seed, IMAGES_PURPOSE, epoch)
        )
        total = torch.zeros((), device=self._device)
        with self._random_numbers(NETWORK_PURPOSE, epoch):
            for number, step in enumerate(pieces, start=1):
                total += self.train_step(step, image_batches)
                progress(number / len(pieces))
        mean = float(total) / len(pieces)
        if not math.isfinite(mean):
            raise UserError(
                f"the backbone's training has no finite loss in epoch {epoch}; give a learning_rate below "
                f"{self._config.learning_rate}."
            )
        self.losses.append(mean)
        return mean

    def train_step(
        self, pieces: list[Int[np.ndarray, "_"]], image_batches: Iterator[Float[Tensor, "_ 3 H W"]]
    ) -> Float[Tensor, ""]:
        """One step of the optimiser, its gradient added up piece by piece; gives the step's loss on the device."""
        self._adam.zero_grad()
        size = sum(len(piece) for piece in pieces)
        total = torch.zeros((), device=self._device)
        for items in pieces:
            images = next(image_batches).to(self._device, non_blocking=True, memory_format=torch.channels_last)
            with self._precision.forward():
                features = self.backbone(images)
            # The loss, of differences of squares, needs the 32 bits that a network can do without.
            loss = self.objective.loss(features.float(), items) * (len(items) / size)
            self._precision.backward(loss)
            total += loss.detach()
        self._precision.step(self._adam)
        return total

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on, beside the configuration and the images."""
        return {
            "losses": self.losses,
            "backbone": self.backbone.network.state_dict(),
            "objective": self.objective.state_dict(),
            "optimiser": self._adam.state_dict(),
            "precision": self._precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the end of another trainer's epoch."""
        self.losses = list(state["losses"])
        self.backbone.network.load_state_dict(state["backbone"])
        self.objective.load_state_dict(state["objective"])
        self._adam.load_state_dict(state["optimiser"])
        self._precision.load_state_dict(state["precision"])

    def _freeze(self, frozen: bool) -> None:
        """Frozen is all of it: the weights, and the statistics of its BatchNorm."""
        self.backbone.train(not frozen).requires_grad_(not frozen)

    def _pieces(self, step: Int[np.ndarray, "_"]) -> list[Int[np.ndarray, "_"]]:
        """Cut a step into pieces of nearly the same size, at most images_at_once where what is together allows it."""
        units = step.reshape(-1, self.objective.together)
        batch_size = max(1, (self._config.images_at_once or len(step)) // self.objective.together)
        return [piece.reshape(-1) for piece in np.array_split(units, math.ceil(len(units) / batch_size))]

    def _random_numbers(self, *purpose: int) -> AbstractContextManager[None]:
        """Return a block whose random numbers depend on the seed and the purpose."""
        seed = int(np.random.SeedSequence([self._config.seed, *purpose]).generate_state(1)[0])
        return seeded(seed, self._device)
