"""Polyvore Outfits: the paper's supervised setting on it, 205 words and "none", OR, lambda 10, dropout 0.5."""

from optuna.trial import BaseTrial

from search_spaces.pan import Scalar, SearchSpace, distance_trial, paper_trial, suggest_pan

PAIRS = ("fresh", "fixed")
"""Outfits have no classes to balance batches by."""


def suggest(trial: BaseTrial) -> dict[str, Scalar]:
    """Suggest a trial on Polyvore Outfits; 16384 pairs make an epoch."""
    return suggest_pan(trial, encoders=("siamese",), pairs_per_epoch=16384, pairs=PAIRS)


PAPER_SETTING = paper_trial("supervised", 206, gate="OR", **{"lambda": 10.0}, dropout=0.5)

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        paper_trial("unsupervised", 206, dropout=0.5),
        paper_trial("hybrid", 206, gate="XNOR", **{"lambda": 10.0}, dropout=0.5),
        distance_trial("unsupervised", 8, pairs="fresh"),
        distance_trial("hybrid", 64, gate="XNOR", **{"lambda": 0.1}, pairs="fresh"),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=64,
    max_epochs=20,
)
