"""Learned inputs: features of images by a backbone that is trained together with the model."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.backbones.precision import computing_in, fastest_precision, gradient_scale
from pan_model.images.batches import ImageBatches
from pan_model.model.normalisation import Normalisation
from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import Pairs
from pan_model.training.finetuning import FinetuneConfig, FinetuneStart
from pan_model.training.gradient_cache import GradientCache
from pan_model.training.inputs import FrozenInputs, StepInputs

AUGMENTATION_PURPOSE = 5
"""Separates the random numbers of augmentation from others of the same seed."""

EVALUATION_BATCH_SIZE = {"cpu": 16, "cuda": 64}
"""Images in an evaluation batch, by device, as in feature extraction."""


class LearnedInputs:
    """Normalised features of items' images, by a copy of a backbone that is trained.

    The backbone is always in evaluation mode: batch normalisation keeps the statistics of the initial weights (its
    scale and shift are trained), and nothing is dropped. An item's features therefore depend on no other item, and
    evaluation uses the features that were trained. Training augments images and uses mixed precision on a GPU;
    evaluation does neither. During warm-up epochs the frozen features are used.
    """

    def __init__(
        self,
        start: FinetuneStart,
        config: FinetuneConfig,
        frozen: FrozenInputs,
        normalisation: Normalisation,
        device: torch.device,
    ) -> None:
        self._config = config
        self._frozen = frozen
        self._normalisation = normalisation
        self._device = device
        self._batch_size = start.batch_size_on(device)
        self._precision = fastest_precision(device) if start.mixed_precision else torch.float32
        self._backbone = deepcopy(start.backbone).eval().requires_grad_()
        # Convolutions are up to twice as fast in the channels-last layout.
        self._backbone.to(device).to(memory_format=torch.channels_last)
        batches = partial(
            ImageBatches,
            start.images,
            image_size=start.images.image_size,
            num_workers=start.num_workers,
            pin_memory=device.type == "cuda",
        )
        self._training, self._evaluation = batches(augmentation=config.augmentation), batches()
        self._moved = False

    @property
    def backbone(self) -> Backbone:
        """The backbone with its current weights."""
        return self._backbone

    def of_steps(self, steps: Sequence[Pairs], *, epoch: int, seed: int) -> Iterator[StepInputs]:
        """Yield the inputs of an epoch's steps. Call `backward` on each before requesting the next."""
        if epoch <= self._config.backbone_warmup_epochs:
            yield from self._frozen.of_steps(steps, epoch=epoch, seed=seed)
            return
        self._moved = True
        items = [np.unique(np.concatenate([step.index_1, step.index_2])) for step in steps]
        image_batches = self._training.epoch(items, (seed, AUGMENTATION_PURPOSE, epoch))
        for of_step, images in zip(items, image_batches, strict=True):
            features = GradientCache(self._train_on, images, self._batch_size)
            yield _LearnedStep(features, torch.from_numpy(of_step).to(self._device), self._backbone, self._precision)

    def of(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Return normalised features for evaluation."""
        return self._normalisation(self.features(items)) if self._moved else self._frozen.of(items)

    @torch.no_grad()
    def features(self, items: Int[Tensor, "n"]) -> Float[Tensor, "n D"]:
        """Return the current backbone's features of images without augmentation, computed as frozen features are."""
        if not self._moved or len(items) == 0:
            return self._frozen.features(items)
        batches = [piece.cpu().numpy() for piece in items.split(EVALUATION_BATCH_SIZE[self._device.type])]
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            return torch.cat([self._extract(images) for images in self._evaluation.epoch(batches, (0,))])

    def parameter_groups(self) -> list[dict[str, object]]:
        """Return the backbone's weights with their own learning rate."""
        return [{"params": list(self._backbone.parameters()), "lr": self._config.backbone_learning_rate}]

    def state_dict(self) -> dict[str, Any]:
        """Return the backbone's weights under the key backbone; an empty state before they first change."""
        return {"backbone": self._backbone.network.state_dict()} if self._moved else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the backbone from a checkpoint; one of a warm-up epoch holds none."""
        self._moved = "backbone" in state
        if self._moved:
            self._backbone.network.load_state_dict(state["backbone"])

    def close(self) -> None:
        """Stop the processes that load images; the next epoch or evaluation starts new ones."""
        self._training.close()
        self._evaluation.close()

    def _train_on(self, images: Float[Tensor, "u 3 H W"]) -> Float[Tensor, "u D"]:
        with computing_in(self._precision, self._device):
            features = self._extract(images)
        return self._normalisation(features.float())

    def _extract(self, images: Float[Tensor, "u 3 H W"]) -> Tensor:
        return self._backbone(images.to(self._device, non_blocking=True, memory_format=torch.channels_last))


class _LearnedStep:
    """The features of a step's items (U, ascending), and the path of their gradient to the backbone."""

    table = None

    def __init__(
        self, features: GradientCache, items: Int[Tensor, "U"], backbone: Backbone, precision: torch.dtype
    ) -> None:
        self._features = features
        self._items = items
        self._backbone = backbone
        self._precision = precision

    def of(self, items: Int[Tensor, "u"]) -> Float[Tensor, "u D"]:
        """Return the rows of some of the step's items."""
        return self._features.outputs[torch.searchsorted(self._items, items)]

    def backward(self) -> None:
        """Set the gradient of the backbone's weights, which must have none yet."""
        gradient = self._features.outputs.grad
        if gradient is None:
            return
        scale = gradient_scale(gradient, self._precision)
        self._features.backward(scale)
        if scale != 1:
            for weight in self._backbone.parameters():
                if weight.grad is not None:
                    weight.grad /= scale
