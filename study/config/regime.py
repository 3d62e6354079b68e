"""Regimes: whether backbones are trained in trials or before them."""

from enum import StrEnum


class Regime(StrEnum):
    """frozen: backbone features are extracted once and shared by all trials; finetune: each trial trains the backbone.

    A finetune trial starts from the same features, which serve the baselines, too.
    """

    FROZEN = "frozen"
    FINETUNE = "finetune"
