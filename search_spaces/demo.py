"""The demo dataset: the space of the real datasets with shorter epochs and fewer first trials."""

from collections.abc import Sequence

from optuna.trial import BaseTrial

from search_spaces.pan import (
    GRAPH_BASELINE,
    SCORINGS,
    Scalar,
    SearchSpace,
    distance_trial,
    for_retrieval,
    paper_trial,
    suggest_pan,
)

ENCODERS = ("siamese", "proxynca")


def suggest(
    trial: BaseTrial, encoders: Sequence[str] = ENCODERS, scorings: Sequence[str] = SCORINGS
) -> dict[str, Scalar]:
    """Suggest the configuration of a trial on the demo, with 2048 pairs per epoch."""
    return suggest_pan(trial, encoders=encoders, pairs_per_epoch=2048, scorings=scorings)


PAPER_SETTING = paper_trial("supervised", 16, gate="XNOR", lambda_=1e-2)

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        paper_trial("unsupervised", 50),
        distance_trial("hybrid", 32, gate="XNOR", lambda_=0.1),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=16,
    max_epochs=9,
    encoders=ENCODERS,
    more_encoders=("graph",),
    more_first_trials=(GRAPH_BASELINE,),
)

RETRIEVAL = for_retrieval(SPACE)
"""The space of `--task retrieval`."""
