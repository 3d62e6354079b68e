"""CUB-200-2011. The paper uses 50 unsupervised, 312 supervised, or 10 + 10 hybrid conditions."""

from collections.abc import Sequence

from optuna.trial import BaseTrial

from search_spaces.pan import (
    FEW_SHOT_SCORINGS,
    GRAPH_BASELINE,
    LABELLED_PROJECTIONS,
    Scalar,
    SearchSpace,
    distance_trial,
    for_retrieval,
    mixture_trial,
    paper_trial,
    suggest_pan,
)

ENCODERS = ("siamese", "proxynca")


def suggest(
    trial: BaseTrial, encoders: Sequence[str] = ENCODERS, scorings: Sequence[str] = FEW_SHOT_SCORINGS
) -> dict[str, Scalar]:
    """Suggest the configuration of a trial on CUB, with 8192 pairs per epoch."""
    return suggest_pan(
        trial, encoders=encoders, pairs_per_epoch=8192, scorings=scorings, projections=LABELLED_PROJECTIONS
    )


PAPER_SETTING = paper_trial("supervised", 312, gate="OR", lambda_=1e-5)

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        paper_trial("unsupervised", 50),
        paper_trial("hybrid", 20, gate="XNOR", lambda_=1e-5),
        distance_trial("unsupervised", 8),
        distance_trial("hybrid", 64, gate="XNOR", lambda_=0.1),
        mixture_trial("unsupervised", 8),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=64,
    max_epochs=20,
    encoders=ENCODERS,
    more_encoders=("graph",),
    more_first_trials=(GRAPH_BASELINE,),
)

RETRIEVAL = for_retrieval(SPACE)
"""The space of `--task retrieval`."""
