"""Scorers: how well a query goes with a set of items. PAN and the baselines answer the same questions through them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from pan_model.shapes import Float, Int


@runtime_checkable
class SetScorer(Protocol):
    """Scores queries against sets of items, higher is better. A set of one item makes it a scorer of pairs."""

    def __call__(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        """Score, in each of B questions, every query against every set of S items."""
        ...


class Scoring(StrEnum):
    """How pair scores become the score of a query and a set.

    pair_mean: the mean of p over the set's items, the paper's way; log_odds: the mean of log p / (1 - p), in which one
    sure pair still counts beside four unsure ones; support_mean: the log-odds of the query and the set's mean
    embedding. For a set of one item all three order queries alike.
    """

    PAIR_MEAN = "pair_mean"
    LOG_ODDS = "log_odds"
    SUPPORT_MEAN = "support_mean"


class CosineScoring(StrEnum):
    """How untrained features score a query and a set: by the cosine with the set's mean, or the mean cosine."""

    CLASS_MEAN = "class_mean"
    MEAN_COSINE = "mean_cosine"


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How a query is scored against a set."""

    scoring: Scoring = Scoring.PAIR_MEAN


def features_on(device: torch.device, features: Float[np.ndarray, "N D"]) -> torch.Tensor:
    """View shared features as a tensor, without a copy on the CPU; never write to it."""
    return torch.from_dlpack(features).to(device)


def score_rows(scorer: SetScorer, items: Int[np.ndarray, "n"]) -> SetScorer:
    """A scorer of these items, ascending, and of no others, made of a scorer of the n rows that stand for them."""

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return scorer(np.searchsorted(items, queries), np.searchsorted(items, sets))

    return score
