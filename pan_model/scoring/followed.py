"""Which labels conditions follow: names for unsupervised conditions, and a check of the labelled ones.

A condition follows a label of pairs as far as its similarity s correlates with it over pairs of training images. Labels
are gates of one attribute, such as XNOR(has_colour::red), and "same has_colour" for attributes that are values of one
property: whether both images share a value.

Two guards keep chance from naming an unsupervised condition, since there are many labels to choose from:

- The label is chosen on pairs of one half of the training classes. Its strength is measured on pairs of the other half,
  which had no part in the choice.
- The strength must be at least `MIN_STRENGTH`, more if there are few classes. All conditions of a good model agree
  weakly with most attributes, since images of the same class are similar and share attributes.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pan_model.data.featured_items import FeaturedItems
from pan_model.model.conditions import UNSUPERVISED, Followed
from pan_model.model.gates import Gate, elementary_gate
from pan_model.model.pan import Pan
from pan_model.shapes import Bool, Float, Int

MIN_STRENGTH = 0.5
"""The smallest correlation that names a condition: the label accounts for a quarter of the variance of s."""

MIN_CLASSES = 20
"""The training classes from which on `MIN_STRENGTH` suffices. With fewer it grows in inverse proportion, so that ten
classes or fewer name nothing.

For attributes and conditions that were drawn at random for each class, 20 classes named 0.5 to 2% of the conditions, 30
classes at most 0.5%, and 60 classes none. Without a growing minimum, 12 classes named 7 to 10%.
"""

MAX_ITEMS = 1024
NUM_PAIRS = 16384
"""The most training items of a half, and the pairs that are drawn among them."""

MIN_LABELS = 100
"""The fewest pairs of a half with the label and without it."""

BATCH_SIZE = 4096
"""Pairs that are compared at a time."""

PURPOSE = 6
"""Separates the random numbers of pairs from others."""

VALUE = "::"
"""Separates a property from its value in the name of an attribute."""

COMPLEMENTS = {
    Gate.AND: Gate.NAND,
    Gate.NAND: Gate.AND,
    Gate.OR: Gate.NOR,
    Gate.NOR: Gate.OR,
    Gate.XOR: Gate.XNOR,
    Gate.XNOR: Gate.XOR,
}
"""The gate of the opposite label. A negative correlation with a label is a positive one with its opposite."""

GATES = (Gate.XNOR, Gate.AND)
"""The gates that are tried for every model, besides its own: both images agree, and both have the attribute."""

Embed = Callable[[Int[np.ndarray, "n"]], Tensor]
"""Return the embeddings (n, E) of some items in evaluation mode."""


def find_followed(
    model: Pan, embed: Embed, featured: FeaturedItems, items: Int[np.ndarray, "n"], gate: Gate | None
) -> dict[str, Followed]:
    """Measure which labels a model's conditions follow. The pairs are the same in every call.

    Labelled conditions are measured on their own label. They need not follow it: with a small lambda, or little
    relevance, a model may learn nothing of it. Unsupervised conditions are measured on the label that they follow best.

    Args:
        model: The trained model.
        embed: Embeds items by the model.
        featured: The items of the dataset.
        items: The training items.
        gate: The gate of the labelled conditions, None if there are none.

    Returns:
        The label and the strength, by the name of the condition. Unsupervised conditions that follow no label, and
        labelled ones with too few pairs, have no entry.
    """
    if not featured.attribute_names:
        return {}
    generator = np.random.default_rng(PURPOSE)
    labels = PairLabelling(featured.attribute_names, gate)
    halves = _halves(items, featured.classes[items], generator)
    first, second = (_correlate(model, embed, featured, half, labels, generator) for half in halves)
    usable = first.usable & second.usable
    num_classes = len(np.unique(featured.classes[items]))
    minimum = MIN_STRENGTH * max(1.0, MIN_CLASSES / num_classes)
    followed: dict[str, Followed] = {}
    for row, name in enumerate(model.condition_names):
        if not name.startswith(UNSUPERVISED):
            label, sign = labels.find(name)
            if usable[label]:
                strength = sign * float(first.correlation[row, label] + second.correlation[row, label]) / 2
                followed[name] = Followed(attribute=name, strength=round(strength, 4))
            continue
        candidates = torch.where(usable, first.correlation[row], 0.0)
        label = int(candidates.abs().argmax())
        sign = math.copysign(1.0, float(candidates[label]))
        strength = sign * float(second.correlation[row, label])
        if usable[label] and strength >= minimum and minimum < 1:
            attribute = labels.names[label] if sign > 0 else labels.opposites[label]
            followed[name] = Followed(attribute=attribute, strength=round(min(strength, 1.0), 4))
    return followed


class _Correlations(NamedTuple):
    """The correlation of M conditions with L labels, and which labels have enough pairs of either kind."""

    correlation: Float[Tensor, "M L"]
    usable: Bool[Tensor, "L"]


class PairLabelling:
    """The labels of pairs that conditions may follow: gates of each attribute, and shared values of each property.

    Attributes:
        names: The names of the L labels.
        opposites: The names of their complements.

    >>> PairLabelling(("colour::red", "colour::blue", "large"), Gate.NAND).names[-3:]
    ['AND(colour::blue)', 'AND(large)', 'same colour']
    """

    def __init__(self, attribute_names: tuple[str, ...], gate: Gate | None) -> None:
        own = () if gate is None else gate.parts
        self._gates = (*GATES, *(part for part in own if not {part, COMPLEMENTS[part]} & set(GATES)))
        values: dict[str, list[int]] = {}
        for place, name in enumerate(attribute_names):
            if VALUE in name:
                values.setdefault(name.split(VALUE)[0], []).append(place)
        self._properties = {name: places for name, places in values.items() if len(places) > 1}
        self.names = [f"{gate}({name})" for gate in self._gates for name in attribute_names]
        self.names += [f"same {name}" for name in self._properties]
        self.opposites = [f"{COMPLEMENTS[gate]}({name})" for gate in self._gates for name in attribute_names]
        self.opposites += [f"different {name}" for name in self._properties]

    def find(self, name: str) -> tuple[int, float]:
        """Return the place of a label, and 1; or the place of its complement, and -1."""
        return (self.names.index(name), 1.0) if name in self.names else (self.opposites.index(name), -1.0)

    def __call__(
        self, first: Bool[Tensor, "P A"], second: Bool[Tensor, "P A"], certain: Bool[Tensor, "P A"]
    ) -> tuple[Bool[Tensor, "P L"], Bool[Tensor, "P L"]]:
        """Label P pairs.

        Args:
            first: The attributes of the first item of each pair.
            second: Those of the second.
            certain: Whether each attribute is certain in both.

        Returns:
            The labels, and whether each of them is certain.
        """
        shared = first & second
        labels = [elementary_gate(first, second, gate) for gate in self._gates]
        labels += [shared[:, places].any(dim=1, keepdim=True) for places in self._properties.values()]
        sure = [certain.repeat(1, len(self._gates))]
        sure += [certain[:, places].all(dim=1, keepdim=True) for places in self._properties.values()]
        return torch.cat(labels, dim=1), torch.cat(sure, dim=1)


def _halves(
    items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "n"], generator: np.random.Generator
) -> list[Int[np.ndarray, "_"]]:
    """Divide items into halves without a common class, if there are 4 classes or more; else at random."""
    names, place = np.unique(classes, return_inverse=True)
    groups = place if len(names) >= 4 else np.arange(len(items))
    is_first = generator.permutation(groups.max() + 1)[groups] % 2 == 0
    return [np.sort(generator.permutation(items[chosen])[:MAX_ITEMS]) for chosen in (is_first, ~is_first)]


def _correlate(
    model: Pan,
    embed: Embed,
    featured: FeaturedItems,
    items: Int[np.ndarray, "n"],
    labels: PairLabelling,
    generator: np.random.Generator,
) -> _Correlations:
    """Correlate the similarity under all conditions with all labels, over random pairs of items."""
    if len(items) < 2:
        return _Correlations(
            torch.zeros(len(model.condition_names), len(labels.names)), torch.zeros(len(labels.names)).bool()
        )
    first = generator.integers(0, len(items), NUM_PAIRS)
    second = (first + generator.integers(1, len(items), NUM_PAIRS)) % len(items)
    similarity = _similarity(model, embed(items), torch.from_numpy(np.stack([first, second])))
    present, certain = (torch.from_numpy(table[items]) for table in (featured.attributes, featured.certain))
    return masked_correlation(similarity, *labels(present[first], present[second], certain[first] & certain[second]))


@torch.inference_mode()
def _similarity(model: Pan, embeddings: Float[Tensor, "n E"], pairs: Int[Tensor, "2 P"]) -> Float[Tensor, "P M"]:
    """Return the similarity of pairs of embeddings under all conditions, on the CPU."""
    model.eval()
    batches = pairs.to(embeddings.device).split(BATCH_SIZE, dim=1)
    return torch.cat([model.similarity(embeddings[i], embeddings[j]).similarity.cpu() for i, j in batches])


def masked_correlation(
    similarity: Float[Tensor, "P M"], labels: Bool[Tensor, "P L"], certain: Bool[Tensor, "P L"]
) -> _Correlations:
    """Return Pearson's correlation of similarities with labels over the pairs whose label is certain.

    Args:
        similarity: The similarity of P pairs under M conditions.
        labels: L labels of the pairs.
        certain: Which of them are certain.

    >>> s, labels = torch.tensor([[0.1], [0.9], [0.1], [0.9]]), torch.tensor([[False], [True], [True], [True]])
    >>> certain = torch.tensor([[True], [True], [False], [True]])
    >>> round(masked_correlation(s, labels, certain).correlation.item(), 3)
    1.0
    """
    values = similarity - similarity.mean(dim=0)
    deviation = values.std(dim=0, correction=0)
    values = torch.where(deviation > 1e-6, values / deviation, 0.0)  # a condition that never varies follows nothing
    mask, positive = certain.float(), (labels & certain).float()
    count, share = mask.sum(dim=0).clamp(min=1), positive.sum(dim=0)
    usable = (share >= MIN_LABELS) & (count - share >= MIN_LABELS)
    share = share / count
    mean, square = (values.T @ mask) / count, (values.square().T @ mask) / count
    covariance = (values.T @ positive) / count - mean * share
    scale = ((square - mean.square()).clamp(min=0) * (share * (1 - share))).sqrt()
    return _Correlations(torch.where(scale > 1e-6, covariance / scale, 0.0), usable)
