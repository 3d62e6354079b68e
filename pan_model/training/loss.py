"""PAN's training loss: L = BCE(p, y) + lambda * L_conditions + the encoder's own loss (PAN, section 3)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.data.featured_items import FeaturedItems
from pan_model.model.conditions import Conditions
from pan_model.model.pan import Pan
from pan_model.model.similarity import PairSimilarity
from pan_model.shapes import Bool, Float, Int
from pan_model.training.inputs import StepInputs

MASK_EPSILON = 1e-6
"""Keeps the loss of a pair without any certain condition at 0 (reference code)."""


def pair_losses(pairs: PairSimilarity, same: Bool[Tensor, "P"]) -> Float[Tensor, "P"]:
    """Return the binary cross-entropy of each pair's score p against y, same class or outfit.

    >>> pairs = PairSimilarity(torch.zeros(1, 1), torch.zeros(1, 1))
    >>> [round(loss, 4) for loss in pair_losses(pairs, torch.tensor([True])).tolist()]
    [0.6931]
    """
    return -torch.where(same, pairs.log_score, pairs.log_complement)


def pair_weights(same: Bool[Tensor, "P"], positive_weight: float) -> Float[Tensor, "P"]:
    """Return pair weights that sum to 1: positives share `positive_weight`, negatives share the rest.

    Each pair has weight 1 / P if all pairs are positives, or all negatives; also with equal numbers of both and
    positive_weight 0.5, the paper's mean.

    >>> pair_weights(torch.tensor([True, False, False]), 0.5).tolist()
    [0.5, 0.25, 0.25]
    """
    num_positives = int(same.sum())
    num_negatives = len(same) - num_positives
    if num_positives == 0 or num_negatives == 0:
        return torch.full(same.shape, 1 / len(same), device=same.device)
    positive, negative = positive_weight / num_positives, (1 - positive_weight) / num_negatives
    return torch.where(same, positive, negative)


def hardest_pairs(losses: Float[Tensor, "P"], same: Bool[Tensor, "P"], share: float) -> Int[Tensor, "H"]:
    """Return the positions, ascending, of the hardest share of positives and of negatives, at least one of each.

    >>> hardest_pairs(torch.tensor([1.0, 2.0, 5.0, 4.0]), torch.tensor([True, True, False, False]), 0.5).tolist()
    [1, 2]
    """
    chosen: list[Tensor] = []
    for places in (same.nonzero()[:, 0], (~same).nonzero()[:, 0]):
        count = min(len(places), max(1, round(share * len(places))))
        chosen.append(places[losses[places].topk(count).indices])
    return torch.cat(chosen).sort().values


def condition_loss(
    similarity_logits: Float[Tensor, "P K"], targets: Bool[Tensor, "P K"], certain: Bool[Tensor, "P K"]
) -> Float[Tensor, ""]:
    """Return the mean over pairs of sum_m c_m BCE(s_m, a_m) / (sum_m c_m + 1e-6).

    c_m = 1 if attribute m is certain for both images, else 0.

    >>> logits, targets = torch.tensor([[0.0, 9.0]]), torch.tensor([[True, False]])
    >>> round(condition_loss(logits, targets, torch.tensor([[True, False]])).item(), 4)
    0.6931
    """
    mask = certain.to(similarity_logits.dtype)
    loss = F.binary_cross_entropy_with_logits(
        similarity_logits, targets.to(similarity_logits.dtype), weight=mask, reduction="none"
    )
    return (loss.sum(dim=1) / (mask.sum(dim=1) + MASK_EPSILON)).mean()


class Losses(NamedTuple):
    """The terms of the training loss, each a scalar; lambda is applied in `total`, not in `conditions`."""

    total: Float[Tensor, ""]
    pairs: Float[Tensor, ""]
    conditions: Float[Tensor, ""]
    encoder: Float[Tensor, ""]


class TrainingLoss:
    """The losses of pairs of training items, given by index.

    With edges among the training items, the whole graph is embedded once a step: between `begin` and `finish` the
    batches of a step share its embeddings.
    """

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
        self._conditions = conditions
        self._lambda = lambda_
        self._attributes = conditions.columns(featured.attributes, device)
        self._certain = conditions.columns(featured.certain, device)
        _, training_classes = np.unique(featured.classes[training_items], return_inverse=True)
        self._training_class = torch.full((len(featured.classes),), -1, device=device)
        self._training_class[torch.from_numpy(training_items)] = torch.from_numpy(training_classes).to(device)
        self._training_items = torch.from_numpy(training_items).to(device)
        self._edges = None if edges is None else torch.from_numpy(np.searchsorted(training_items, edges)).to(device)
        self._graph: Float[Tensor, "n E"] | None = None
        self._shared: Float[Tensor, "n E"] | None = None

    def begin(self, inputs: StepInputs) -> None:
        """Begin a step: embed the graph, if any."""
        if self._edges is not None:
            self._graph = self._model.encode(inputs.of(self._training_items), self._edges)
            self._shared = self._graph.detach().requires_grad_()

    def finish(self) -> None:
        """End a step: backpropagate the gradient of the graph's embeddings to the encoder."""
        if self._graph is not None and self._shared is not None:
            self._graph.backward(self._shared.grad)
        self._graph = self._shared = None

    def losses(
        self,
        inputs: StepInputs,
        index_1: Int[Tensor, "P"],
        index_2: Int[Tensor, "P"],
        same: Bool[Tensor, "P"],
        weights: Float[Tensor, "P"],
    ) -> Losses:
        """Return the losses of P pairs. Every item among them is embedded once.

        Args:
            inputs: The normalised features of the step's items.
            index_1: The first item of each pair.
            index_2: The second item of each pair.
            same: Whether the two items are of the same class or outfit.
            weights: The weights of the pairs in the loss of their scores.

        Returns:
            The loss terms. The encoder's own loss is a mean over items, the loss of the conditions a mean over pairs.
        """
        pairs, embeddings, items = self._compare(inputs, index_1, index_2)
        of_pairs = (weights * pair_losses(pairs, same)).sum()
        of_encoder = self._model.encoder.own_loss(embeddings, self._training_class[items])
        of_conditions = of_pairs.new_zeros(())
        if self._conditions.num_labelled > 0:
            targets, certain = self._conditions.targets(self._attributes, self._certain, index_1, index_2)
            of_conditions = condition_loss(
                pairs.similarity_logits[:, : self._conditions.num_labelled], targets, certain
            )
        total = of_pairs + self._lambda * of_conditions + of_encoder
        return Losses(total, of_pairs, of_conditions, of_encoder)

    @torch.no_grad()
    def hardest(
        self,
        inputs: StepInputs,
        index_1: Int[Tensor, "P"],
        index_2: Int[Tensor, "P"],
        same: Bool[Tensor, "P"],
        share: float,
        batch_size: int,
    ) -> Int[Tensor, "H"]:
        """Return the positions of the hardest share of P pairs, for the current model without dropout.

        Args:
            inputs: The normalised features of the step's items.
            index_1: The first item of each pair.
            index_2: The second item of each pair.
            same: Whether the two items are of the same class or outfit.
            share: The share of positives, and of negatives, to return, in (0, 1].
            batch_size: Pairs that are scored at a time.
        """
        self._model.eval()
        losses = [
            pair_losses(self._compare(inputs, items_1, items_2)[0], batch_same)
            for items_1, items_2, batch_same in zip(
                index_1.split(batch_size), index_2.split(batch_size), same.split(batch_size), strict=True
            )
        ]
        self._model.train()
        return hardest_pairs(torch.cat(losses), same, share)

    def _compare(
        self, inputs: StepInputs, index_1: Int[Tensor, "P"], index_2: Int[Tensor, "P"]
    ) -> tuple[PairSimilarity, Float[Tensor, "U E"], Int[Tensor, "U"]]:
        """Return the pairs' similarities, and the embeddings of the U items among them."""
        items, places = torch.cat([index_1, index_2]).unique(return_inverse=True)
        embeddings = self._embed(inputs, items)
        place_1, place_2 = places.split(len(index_1))
        return self._model.similarity(embeddings[place_1], embeddings[place_2]), embeddings, items

    def _embed(self, inputs: StepInputs, items: Int[Tensor, "U"]) -> Float[Tensor, "U E"]:
        if self._edges is None:
            return self._model.encode(inputs.of(items))
        embeddings = self._shared
        if embeddings is None:
            embeddings = self._model.encode(inputs.of(self._training_items), self._edges)
        return embeddings[torch.searchsorted(self._training_items, items)]
