"""Polyvore Outfits. The paper uses 206 conditions (205 words and "none") on a graph encoder.

Its graph has 2 layers of width 200, with 15% dropout of neighbourhoods and of edges. The gate is OR, lambda is 10 and
dropout is 0.5.
"""

from collections.abc import Sequence

from optuna.trial import BaseTrial

from search_spaces.pan import Scalar, SearchSpace, distance_trial, paper_trial, suggest_pan, with_graph

ENCODERS = ("siamese", "graph")

PAIRS = ("fresh", "fixed")
"""How training pairs may be drawn. Class-balanced batches are left out because outfits have no classes."""

GRAPH_CONTEXTS = (0, 4, 16)
"""How many further edges of the outfit graph each item of a question's set may use."""


def suggest(trial: BaseTrial, encoders: Sequence[str] = ENCODERS) -> dict[str, Scalar]:
    """Suggest the configuration of a trial on Polyvore Outfits, with 16384 pairs per epoch."""
    config = suggest_pan(trial, encoders=encoders, pairs_per_epoch=16384, pairs=PAIRS)
    if config["encoder"] == "graph":
        config["graph_context"] = trial.suggest_categorical("graph_context", GRAPH_CONTEXTS)
    return config


def on_outfits(params: dict[str, Scalar]) -> dict[str, Scalar]:
    """Return the parameters with the paper's graph encoder, without further edges at evaluation.

    Items that share an outfit are neighbours in the graph.
    """
    return with_graph(params, layers=2, width=200, edge_dropout=0.15) | {"graph_context": 0}


def from_distance(supervision: str, *, lambda_: float | None = None, **overrides: Scalar) -> dict[str, Scalar]:
    """Return the parameters of `distance_trial` with 64 conditions and more, larger steps than for classes.

    Which items go together is not how similar they look, so training has a longer way to go from the distance.
    """
    faster: dict[str, Scalar] = {"pairs": "fresh", "scoring": "log_odds", "steps_per_epoch": 16, "learning_rate": 1e-3}
    return distance_trial(supervision, 64, lambda_=lambda_, **{**faster, **overrides})


SUPERVISED = paper_trial("supervised", 206, gate="OR", lambda_=10.0, dropout=0.5)
UNSUPERVISED = paper_trial("unsupervised", 206, dropout=0.5)
HYBRID = paper_trial("hybrid", 206, gate="XNOR", lambda_=10.0, dropout=0.5)

PAPER_SETTING = on_outfits(SUPERVISED)

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        on_outfits(UNSUPERVISED),
        on_outfits(HYBRID),
        SUPERVISED,
        from_distance("unsupervised"),
        from_distance("hybrid", gate="XNOR", lambda_=0.1),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=64,
    max_epochs=20,
    paper_epochs=4000,
    encoders=ENCODERS,
    unsupported={"proxynca": "it learns a proxy for each class, and outfits have no classes"},
)
