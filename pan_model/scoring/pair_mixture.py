"""A mixture for sets of one item: the cosine of two embeddings and their log-odds, both standardised.

It is what `Scoring.MIXTURE` is for a gallery: no classifier can be fitted to sets of one item. The cosine
compares embeddings as a whole, the log-odds under the conditions; conditions with labels rank worse alone.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pan_model.model.pair_scores import PairScorer
from pan_model.model.pan import Pan, Scoring
from pan_model.model.precision import multiply
from pan_model.model.similarity import Joint
from pan_model.shapes import Float, Int

SAMPLE_PURPOSE = 7
SAMPLED_ITEMS = 1024
SAMPLED_PAIRS = 16384
"""Pairs, and the most items that they are drawn from, by which both scores are standardised."""

MIN_DEVIATION = 1e-6
"""A score with a smaller deviation is constant but for rounding, and is not scaled."""


class Moments(NamedTuple):
    """The mean and the standard deviation of a score over pairs."""

    mean: float
    deviation: float


class MixtureScale(NamedTuple):
    """The moments of both scores that a mixture adds up."""

    cosine: Moments
    log_odds: Moments


def mixes_pairs(model: Pan, sets: Int[np.ndarray, "B C S"]) -> bool:
    """Return whether sets are scored by the mixture for one item: there are at least two, with one item each."""
    return model.scoring is Scoring.MIXTURE and sets.shape[1] > 1 and sets.shape[2] == 1


def sampled_items(num_items: int) -> Int[np.ndarray, "n"]:
    """Return the items, ascending, whose pairs set the scale; the same in every call."""
    return np.sort(np.random.default_rng(SAMPLE_PURPOSE).permutation(num_items)[:SAMPLED_ITEMS])


@torch.inference_mode()
def measure_scale(model: Pan, embeddings: Float[Tensor, "n E"]) -> MixtureScale:
    """Measure both scores over random pairs of embeddings, the same pairs in every call.

    Pairs with an embedding that is not finite are left out.
    """
    embeddings = embeddings[embeddings.isfinite().all(dim=1)]
    if len(embeddings) < 2:
        return MixtureScale(Moments(0.0, 1.0), Moments(0.0, 1.0))
    generator = np.random.default_rng(SAMPLE_PURPOSE)
    first = generator.integers(0, len(embeddings), SAMPLED_PAIRS)
    second = (first + generator.integers(1, len(embeddings), SAMPLED_PAIRS)) % len(embeddings)
    pairs = torch.from_numpy(np.stack([first, second], axis=1)).to(embeddings.device)
    unit = nn.functional.normalize(embeddings, dim=1)
    cosines = (unit @ unit.T)[pairs[:, 0], pairs[:, 1]]
    return MixtureScale(_moments(cosines), _moments(model.pair_scorer().pairs(embeddings, pairs)))


def _moments(values: Float[Tensor, "P"]) -> Moments:
    values = values.double()
    deviation = float(values.std(correction=0))
    return Moments(float(values.mean()), deviation if deviation > MIN_DEVIATION else 1.0)


class PairMixture:
    """Scores blocks of pairs as `PairScorer` does, by the mixture for sets of one item.

    The score is w (cos - mean) / deviation + (1 - w) (log-odds - mean) / deviation, with w the model's mixture_weight
    and the moments of each score in `scale`. It does not depend on the other pairs of a block.

    Args:
        model: The trained model, in evaluation mode. Its weights are read here.
        scale: The moments of both scores.
    """

    def __init__(self, model: Pan, scale: MixtureScale) -> None:
        self._log_odds: PairScorer = model.pair_scorer()
        self.joint = self._log_odds.joint
        self._embedding_dim = model.encoder.embedding_dim
        weight, (cosine, log_odds) = model.mixture_weight, scale
        self._of_cosine = weight / cosine.deviation
        self._of_log_odds = (1 - weight) / log_odds.deviation
        self._offset = -self._of_cosine * cosine.mean - self._of_log_odds * log_odds.mean

    def left(self, embeddings: Float[Tensor, "N E"]) -> Float[Tensor, "N R"]:
        """Return what items contribute to the pairs in which they come first, the first argument of `block`."""
        return self._with_unit(self._log_odds.left(embeddings), embeddings)

    def right(self, embeddings: Float[Tensor, "N E"]) -> Float[Tensor, "N R"]:
        """Return what items contribute to the pairs in which they come second, the second argument of `block`."""
        return self._with_unit(self._log_odds.right(embeddings), embeddings)

    @torch.no_grad()
    def block(self, left: Float[Tensor, "Q R"], right: Float[Tensor, "G R"]) -> Float[Tensor, "Q G"]:
        """Score every item of one list with every item of another.

        Args:
            left: The result of `left` for Q items.
            right: The result of `right` for G items.
        """
        dim = self._embedding_dim
        if self.joint is Joint.PRODUCT:  # the rows are embeddings of norm sqrt(E)
            scores, of_cosine = self._log_odds.block(left, right), self._of_cosine / dim
        else:
            scores, of_cosine = self._log_odds.block(left[:, :-dim], right[:, :-dim]), self._of_cosine
        cosines = multiply(left[:, -dim:], right[:, -dim:].T).to(scores.dtype)
        return scores.mul_(self._of_log_odds).add_(cosines.mul_(of_cosine)).add_(self._offset)

    @torch.no_grad()
    def _with_unit(self, rows: Float[Tensor, "N K"], embeddings: Float[Tensor, "N E"]) -> Float[Tensor, "N R"]:
        """Append the embeddings of length 1, unless the rows are these already."""
        if self.joint is Joint.PRODUCT:
            return rows
        return torch.cat([rows, nn.functional.normalize(embeddings, dim=1).to(rows.dtype)], dim=1)
