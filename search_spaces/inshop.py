"""In-Shop Clothes Retrieval: all 463 attributes supervised on the ProxyNCA++ encoder.

The paper does not publish how it trained PAN on In-Shop, nor how it combined PAN with ProxyNCA++.

- Published: the encoder and its temperature of 1/9, the number of attributes, 463, and that XNOR is the best gate over
  all datasets.
- Our choices: lambda, which is the best one on CUB; both losses on one embedding of 1024 dimensions (ProxyNCA++ uses
  2048, which is outside the searched range); the learning-rate factor and the loss weight of the proxies; and the
  training pairs, which follow PAN on CUB (fixed pairs, full batch, standardised features), whereas ProxyNCA++ uses
  batches of 64 products with 3 images each.
"""

from collections.abc import Sequence

from optuna.trial import BaseTrial

from search_spaces.pan import (
    LABELLED_PROJECTIONS,
    RETRIEVAL_SCORINGS,
    Scalar,
    SearchSpace,
    distance_trial,
    paper_trial,
    suggest_pan,
)

ENCODERS = ("siamese", "proxynca")

PROXYNCA: dict[str, Scalar] = {
    "encoder": "proxynca",
    "embedding_dim": 1024,
    "temperature": 1 / 9,
    "proxy_learning_rate_factor": 100.0,
    "proxy_loss_weight": 1.0,
}


def suggest(trial: BaseTrial, encoders: Sequence[str] = ENCODERS) -> dict[str, Scalar]:
    """Suggest the configuration of a trial on In-Shop, with 16384 pairs per epoch."""
    return suggest_pan(
        trial,
        encoders=encoders,
        pairs_per_epoch=16384,
        scorings=RETRIEVAL_SCORINGS,
        projections=LABELLED_PROJECTIONS,
    )


def with_proxies(params: dict[str, Scalar]) -> dict[str, Scalar]:
    """Return the parameters with the siamese encoder replaced by ProxyNCA++."""
    return {name: value for name, value in params.items() if name != "projection"} | PROXYNCA


PAPER_SETTING = with_proxies(paper_trial("supervised", 463, gate="XNOR", lambda_=1e-5))

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        with_proxies(paper_trial("unsupervised", 50)),
        distance_trial("unsupervised", 8, scoring="log_odds", learning_rate=1e-3),
        distance_trial("hybrid", 64, scoring="log_odds", gate="XNOR", lambda_=0.1, learning_rate=1e-3),
        distance_trial(
            "hybrid",
            64,
            projection="attributes",
            attribute_share=0.3,
            whitening_shrinkage=0.2,
            feature_power=1.0,
            scoring="mixture",
            mixture_weight=0.5,
            gate="XNOR",
            lambda_=0.1,
            learning_rate=3e-4,
        ),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=64,
    max_epochs=20,
    encoders=ENCODERS,
    unsupported={"graph": "a graph of all items is too expensive there, and its queries have no neighbours"},
)
