"""CUB-200-2011: the paper's settings on it, 50 unsupervised, 312 supervised and 10 + 10 hybrid conditions."""

from collections.abc import Sequence

from optuna.trial import BaseTrial

from search_spaces.pan import GRAPH_BASELINE, Scalar, SearchSpace, distance_trial, paper_trial, suggest_pan

ENCODERS = ("siamese", "proxynca")


def suggest(trial: BaseTrial, encoders: Sequence[str] = ENCODERS) -> dict[str, Scalar]:
    """Suggest a trial on CUB; 8192 pairs make an epoch."""
    return suggest_pan(trial, encoders=encoders, pairs_per_epoch=8192)


PAPER_SETTING = paper_trial("supervised", 312, gate="OR", **{"lambda": 1e-5})

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        paper_trial("unsupervised", 50),
        paper_trial("hybrid", 20, gate="XNOR", **{"lambda": 1e-5}),
        distance_trial("unsupervised", 8),
        distance_trial("hybrid", 64, gate="XNOR", **{"lambda": 0.1}),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=64,
    max_epochs=20,
    encoders=ENCODERS,
    more_encoders=("graph",),
    more_first_trials=(GRAPH_BASELINE,),
)
