"""Objectives of backbone training: the images of a step, and the loss of their features."""

import math
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from pan_model.model.encoders.proxynca import ProxyNCAConfig
from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import draw_balanced_items
from pan_model.training.backbone.config import BackboneTraining, BackboneTrainingConfig
from pan_model.training.backbone.triplets import Groups, TripletSampler, triplet_loss


@runtime_checkable
class BackboneObjective(Protocol):
    """Draws the steps of an epoch as positions of training items, and computes the loss of a batch of a step.

    The loss of a step is the mean of the losses of its batches, weighted by their sizes.

    Attributes:
        unit: The number of consecutive images that must be in the same batch.
    """

    unit: int

    def draw_steps(self, generator: np.random.Generator) -> list[Int[np.ndarray, "_"]]:
        """Return the items of each step of an epoch."""
        ...

    def loss(self, features: Float[Tensor, "B D"], items: Int[np.ndarray, "B"]) -> Float[Tensor, ""]:
        """Return the mean loss of some items' features."""
        ...

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return the objective's own weights as parameter groups of a torch optimiser."""
        ...


class TripletObjective(nn.Module):
    """Siamese: triplets with d(anchor, positive) + margin below d(anchor, negative)."""

    unit = 3

    def __init__(self, groups: Groups, config: BackboneTrainingConfig) -> None:
        super().__init__()
        self._sampler = TripletSampler(groups)
        self._config = config

    def draw_steps(self, generator: np.random.Generator) -> list[Int[np.ndarray, "_"]]:
        """Split the epoch's triplets into steps of nearly equal size, at most batch_size triplets each."""
        triplets = self._sampler.draw(generator)
        steps = np.array_split(triplets, math.ceil(len(triplets) / self._config.batch_size))
        return [step.reshape(-1) for step in steps]

    def loss(self, features: Float[Tensor, "B D"], items: Int[np.ndarray, "B"]) -> Float[Tensor, ""]:
        """Return the mean over triplets; every three rows are one."""
        return triplet_loss(features[0::3], features[1::3], features[2::3], self._config.margin)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return no groups: features are the embedding."""
        return []


class ProxyObjective(nn.Module):
    """ProxyNCA++: features -> LayerNorm without affine -> Linear, attracted by the proxy of their class.

    Each group is a class. Features are pooled as the backbone pools them, since they are extracted that way later; the
    reference takes the maximum.
    """

    unit = 1

    def __init__(self, groups: Groups, config: BackboneTrainingConfig, *, feature_dim: int) -> None:
        super().__init__()
        self._config = config
        labels, classes = np.unique(groups.labels, return_inverse=True)
        self._classes = np.empty(len(groups.items), dtype=np.int64)
        self._classes[groups.items] = classes
        self.head = ProxyNCAConfig(
            embedding_dim=config.embedding_dim,
            temperature=config.temperature,
            proxy_learning_rate_factor=config.proxy_learning_rate_factor,
        ).build(feature_dim=feature_dim, num_classes=len(labels))

    def draw_steps(self, generator: np.random.Generator) -> list[Int[np.ndarray, "_"]]:
        """Draw classes, and images of each, for every step; an epoch has as many images as training items."""
        return [
            draw_balanced_items(
                self._classes,
                classes_per_step=self._config.classes_per_batch,
                images_per_class=self._config.images_per_class,
                generator=generator,
            )
            for _ in range(math.ceil(len(self._classes) / self._config.batch_size))
        ]

    def loss(self, features: Float[Tensor, "B D"], items: Int[np.ndarray, "B"]) -> Float[Tensor, ""]:
        """Return the mean over items of the ProxyNCA++ loss."""
        return self.head.own_loss(self.head(features), torch.from_numpy(self._classes[items]).to(features.device))

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        """Return the embedding, and the proxies at their own learning rate, with the keys that Adam accepts."""
        return [{"params": group["params"], "lr": group["lr"]} for group in self.head.parameter_groups(learning_rate)]


def build_objective(
    groups: Groups, config: BackboneTrainingConfig, feature_dim: int
) -> TripletObjective | ProxyObjective:
    """Build the objective of a configuration. Initial weights are drawn from torch's generator.

    Raises:
        UserError: siamese, and the groups allow no triplet.
    """
    if config.kind is BackboneTraining.PROXYNCA:
        return ProxyObjective(groups, config, feature_dim=feature_dim)
    return TripletObjective(groups, config)
