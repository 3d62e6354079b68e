"""Polyvore Outfits: the paper's settings on it, 206 conditions (205 words and "none") over a graph of outfits.

The graph has 2 layers of 200 and drops 15% of neighbourhoods and of edges; OR, lambda 10 and dropout 0.5.
"""

from collections.abc import Sequence

from optuna.trial import BaseTrial

from search_spaces.pan import Scalar, SearchSpace, distance_trial, paper_trial, suggest_pan, with_graph

ENCODERS = ("siamese", "graph")

PAIRS = ("fresh", "fixed")
"""Outfits have no classes to balance batches by."""

GRAPH_CONTEXTS = (0, 4, 16)
"""Edges beside a question that each item of its set may know of."""


def suggest(trial: BaseTrial, encoders: Sequence[str] = ENCODERS) -> dict[str, Scalar]:
    """Suggest a trial on Polyvore Outfits; 16384 pairs make an epoch."""
    config = suggest_pan(trial, encoders=encoders, pairs_per_epoch=16384, pairs=PAIRS)
    if config["encoder"] == "graph":
        config["graph_context"] = trial.suggest_categorical("graph_context", GRAPH_CONTEXTS)
    return config


def on_outfits(params: dict[str, Scalar]) -> dict[str, Scalar]:
    """The same trial over the paper's graph, items that share an outfit, and with nothing known beside a question."""
    return with_graph(params, layers=2, width=200, edge_dropout=0.15) | {"graph_context": 0}


SUPERVISED = paper_trial("supervised", 206, gate="OR", **{"lambda": 10.0}, dropout=0.5)
UNSUPERVISED = paper_trial("unsupervised", 206, dropout=0.5)
HYBRID = paper_trial("hybrid", 206, gate="XNOR", **{"lambda": 10.0}, dropout=0.5)

PAPER_SETTING = on_outfits(SUPERVISED)

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        on_outfits(UNSUPERVISED),
        on_outfits(HYBRID),
        SUPERVISED,
        distance_trial("unsupervised", 8, pairs="fresh"),
        distance_trial("hybrid", 64, gate="XNOR", **{"lambda": 0.1}, pairs="fresh"),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=64,
    max_epochs=20,
    paper_epochs=4000,
    encoders=ENCODERS,
    unsupported={"proxynca": "it learns a proxy for each class, and outfits have no classes"},
)
