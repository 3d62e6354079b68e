"""PAN's training loss: L = BCE(p, y) + lambda * L_conditions + the encoder's own loss (PAN, section 3)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pan_model.data.featured_items import FeaturedItems
from pan_model.model.conditions import Conditions
from pan_model.model.pair_labels import PairLabels
from pan_model.model.pan import Pan
from pan_model.model.similarity import Joint
from pan_model.shapes import Bool, Float, Int
from pan_model.training.inputs import StepInputs
from pan_model.training.loss import hardest_pairs
from pan_model.training.pair_loss import StepPairs, losses_of_pairs, step_losses


class Losses(NamedTuple):
    """The terms of the training loss, each a scalar; lambda is applied in `total`, not in `conditions`."""

    total: Float[Tensor, ""]
    pairs: Float[Tensor, ""]
    conditions: Float[Tensor, ""]
    encoder: Float[Tensor, ""]


class Embedded(NamedTuple):
    """Items, ascending, and their embeddings, which are differentiable."""

    items: Int[Tensor, "U"]
    embeddings: Float[Tensor, "U E"]


class TrainingLoss:
    """The losses of pairs of training items, given by index."""

    def __init__(
        self,
        model: Pan,
        conditions: Conditions,
        featured: FeaturedItems,
        training_items: Int[np.ndarray, "n"],
        lambda_: float,
        device: torch.device,
        edges: Int[np.ndarray, "2 L"] | None = None,
    ) -> None:
        self._model = model
        self._lambda = lambda_
        self._training_items = torch.from_numpy(training_items).to(device)
        attributes, certain = (conditions.columns(table, device) for table in (featured.attributes, featured.certain))
        self._labels = PairLabels.of(conditions, attributes, certain)
        _, training_classes = np.unique(featured.classes[training_items], return_inverse=True)
        self._training_class = torch.full((len(featured.classes),), -1, device=device)
        self._training_class[self._training_items] = torch.from_numpy(training_classes).to(device)
        self._edges = None if edges is None else torch.from_numpy(np.searchsorted(training_items, edges)).to(device)

    def losses(
        self,
        inputs: StepInputs,
        index_1: Int[Tensor, "P"],
        index_2: Int[Tensor, "P"],
        same: Bool[Tensor, "P"],
        weights: Float[Tensor, "P"],
        embedded: Embedded | None = None,
    ) -> Losses:
        """Return the losses of P pairs. Every item among them is embedded once.

        Args:
            inputs: The normalised features of the step's items.
            index_1: The first item of each pair.
            index_2: The second item of each pair.
            same: Whether the two items are of the same class or outfit.
            weights: The weights of the pairs in the loss of their scores.
            embedded: The embeddings of these and further items, if `hardest` has returned them.

        Returns:
            The loss terms, of which `total` has a gradient. The encoder's own loss is a mean over items, the loss of
            the conditions a mean over pairs.
        """
        items, places, embeddings = self._embed(inputs, index_1, index_2, embedded)
        labels = self._labels if self._labels is None or items is None else self._labels.of_items(items)
        pairs = StepPairs(places=places, same=same, weights=weights, labels=labels, lambda_=self._lambda)
        total, of_pairs, of_conditions = step_losses(self._model.similarity, embeddings, pairs)
        if items is None:
            return Losses(total, of_pairs, of_conditions, torch.zeros_like(of_pairs))
        of_encoder = self._model.encoder.own_loss(embeddings, self._training_class[items])
        return Losses(total + of_encoder, of_pairs, of_conditions, of_encoder)

    def hardest(
        self,
        inputs: StepInputs,
        index_1: Int[Tensor, "P"],
        index_2: Int[Tensor, "P"],
        same: Bool[Tensor, "P"],
        share: float,
    ) -> tuple[Int[Tensor, "H"], Embedded | None]:
        """Return the positions of the hardest share of P pairs, for the current model without dropout.

        The embeddings of their items are returned as well if they are those of training: feature dropout and encoders
        that use a graph embed differently there.

        Args:
            inputs: The normalised features of the step's items.
            index_1: The first item of each pair.
            index_2: The second item of each pair.
            same: Whether the two items are of the same class or outfit.
            share: The share of positives, and of negatives, to return, in (0, 1].
        """
        self._model.eval()
        as_in_training = self._model.feature_dropout.p == 0 and self._edges is None
        with torch.set_grad_enabled(as_in_training):
            items, places, embeddings = self._embed(inputs, index_1, index_2)
        losses = losses_of_pairs(self._model.similarity, embeddings, places, same)
        self._model.train()
        embedded = None if items is None or not as_in_training else Embedded(items, embeddings)
        return hardest_pairs(losses, same, share), embedded

    def _embed(
        self,
        inputs: StepInputs,
        index_1: Int[Tensor, "P"],
        index_2: Int[Tensor, "P"],
        embedded: Embedded | None = None,
    ) -> tuple[Int[Tensor, "U"] | None, Int[Tensor, "P 2"], Float[Tensor, "U E"]]:
        """Embed the items of pairs.

        Returns:
            The items, the places of each pair's items among them, and their embeddings. The items are None if
            embeddings are the inputs and all of these are kept: nothing is copied, and places are item numbers.
        """
        pairs = torch.stack([index_1, index_2], dim=1)
        # The other joints compute something for every row.
        if inputs.table is not None and self._model.keeps_inputs and self._model.similarity.joint is Joint.ABSDIFF:
            return None, pairs, inputs.table
        items, places = pairs.unique(return_inverse=True)
        if embedded is not None:
            return items, places, embedded.embeddings[torch.searchsorted(embedded.items, items)]
        if self._edges is None:
            return items, places, self._model.encode(inputs.of(items))
        embeddings = self._model.encode(inputs.of(self._training_items), self._edges)
        return items, places, embeddings[torch.searchsorted(self._training_items, items)]
