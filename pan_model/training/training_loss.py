"""PAN's loss on training pairs: L = BCE(p, y) + lambda * L_conditions + the encoder's own (PAN, section 3)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pan_model.data.featured_items import FeaturedItems
from pan_model.model.conditions import Conditions
from pan_model.model.pan import Pan
from pan_model.model.similarity import PairSimilarity
from pan_model.shapes import Bool, Float, Int
from pan_model.training.inputs import StepInputs
from pan_model.training.losses import condition_loss, hardest_pairs, pair_losses


class Losses(NamedTuple):
    """The parts of the training loss, each a scalar; conditions is before lambda, total after."""

    total: Float[Tensor, ""]
    pairs: Float[Tensor, ""]
    conditions: Float[Tensor, ""]
    encoder: Float[Tensor, ""]


class TrainingLoss:
    """The losses of pairs of training items, given by index, on the normalised features that a step has for them.

    With edges among the training items, all of these are embedded together, as a graph, once a step: between `begin`
    and `finish` the pieces of a step share the embeddings.
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
        """Begin a step: embed the graph, if there is one."""
        if self._edges is not None:
            self._graph = self._model.encode(inputs.of(self._training_items), self._edges)
            self._shared = self._graph.detach().requires_grad_()

    def finish(self) -> None:
        """End a step: hand the gradient that its pieces left at the graph's embeddings on to the encoder."""
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
        """The losses of P pairs, those of p weighted; every item among them is embedded once.

        The encoder's own loss is the mean over these items, that of the conditions the mean over the pairs.
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
        at_once: int,
    ) -> Int[Tensor, "H"]:
        """The places of the hardest share of P pairs, as the model is now and without dropout."""
        self._model.eval()
        losses = [
            pair_losses(self._compare(inputs, one, two)[0], alike)
            for one, two, alike in zip(index_1.split(at_once), index_2.split(at_once), same.split(at_once), strict=True)
        ]
        self._model.train()
        return hardest_pairs(torch.cat(losses), same, share)

    def _compare(
        self, inputs: StepInputs, index_1: Int[Tensor, "P"], index_2: Int[Tensor, "P"]
    ) -> tuple[PairSimilarity, Float[Tensor, "U E"], Int[Tensor, "U"]]:
        """The pairs' similarities, and the embeddings of the U items among them."""
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
