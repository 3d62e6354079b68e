"""Images in a folder a class, with any number of attributes or none. The settings are those of the paper on CUB.

The paper's supervised setting has 64 conditions. Of these as many are labelled as there are attributes. Both tasks,
few-shot and retrieval, share the space, except for the ways to score: a gallery has sets of one image, to which nothing
is fitted. Without attributes, all trials are unsupervised.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from optuna.trial import BaseTrial

from search_spaces.pan import (
    FEW_SHOT_SCORINGS,
    GRAPH_BASELINE,
    LABELLED_PROJECTIONS,
    PROJECTIONS,
    SUPERVISIONS,
    Scalar,
    SearchSpace,
    distance_trial,
    for_retrieval,
    mixture_trial,
    paper_trial,
    suggest_pan,
)

ENCODERS = ("siamese", "proxynca")
NUM_CONDITIONS = 64


def suggest(
    trial: BaseTrial,
    encoders: Sequence[str] = ENCODERS,
    supervisions: Sequence[str] = SUPERVISIONS,
    scorings: Sequence[str] = FEW_SHOT_SCORINGS,
    projections: Sequence[str] = LABELLED_PROJECTIONS,
) -> dict[str, Scalar]:
    """Suggest the configuration of a trial on a folder of images, with 8192 pairs per epoch."""
    return suggest_pan(
        trial,
        encoders=encoders,
        supervisions=supervisions,
        scorings=scorings,
        projections=projections,
        pairs_per_epoch=8192,
    )


PAPER_SETTING = paper_trial("supervised", NUM_CONDITIONS, gate="OR", lambda_=1e-5)

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

UNLABELLED = replace(
    SPACE,
    suggest=partial(suggest, supervisions=("unsupervised",), projections=PROJECTIONS),
    first_trials=tuple(trial for trial in SPACE.first_trials if trial["supervision"] == "unsupervised"),
    paper_setting=paper_trial("unsupervised", NUM_CONDITIONS),
)
"""The space of images without attributes."""


RETRIEVAL = for_retrieval(SPACE)
UNLABELLED_RETRIEVAL = for_retrieval(UNLABELLED)
"""The spaces of `--task retrieval`."""
