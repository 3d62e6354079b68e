"""The demo's small pictures: the same space as on real data, with shorter epochs and first trials like the paper's."""

from optuna.trial import BaseTrial

from search_spaces.pan import Scalar, SearchSpace, distance_trial, paper_trial, suggest_pan


def suggest(trial: BaseTrial) -> dict[str, Scalar]:
    """Suggest a trial on the demo; 2048 pairs make an epoch."""
    return suggest_pan(trial, encoders=("siamese", "proxynca"), pairs_per_epoch=2048)


PAPER_SETTING = paper_trial("supervised", 16, gate="XNOR", **{"lambda": 1e-2})

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        paper_trial("unsupervised", 50),
        distance_trial("hybrid", 32, gate="XNOR", **{"lambda": 0.1}),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=16,
    max_epochs=9,
)
