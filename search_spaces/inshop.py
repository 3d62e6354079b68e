"""In-Shop Clothes Retrieval: all 463 attributes supervised on the ProxyNCA++ encoder.

How the paper trained PAN on In-Shop, and how it joined ProxyNCA++ to it, is not published. Published are the encoder
and its temperature of 1/9, that there are 463 attributes, and that XNOR is the most apt gate over all datasets. Ours
are: lambda, which is CUB's best; both losses on one embedding; its 1024 dimensions (ProxyNCA++ has 2048, the space ends
before); how much faster proxies learn, and the weight of their loss; and the pairs, which are PAN's own on CUB, fixed
and in a full batch of standardised features, where ProxyNCA++ has batches of 64 products with 3 images each.
"""

from collections.abc import Sequence

from optuna.trial import BaseTrial

from search_spaces.pan import Scalar, SearchSpace, distance_trial, paper_trial, suggest_pan

ENCODERS = ("siamese", "proxynca")

PROXYNCA: dict[str, Scalar] = {
    "encoder": "proxynca",
    "embedding_dim": 1024,
    "temperature": 1 / 9,
    "proxy_learning_rate_factor": 100.0,
    "proxy_loss_weight": 1.0,
}


def suggest(trial: BaseTrial, encoders: Sequence[str] = ENCODERS) -> dict[str, Scalar]:
    """Suggest a trial on In-Shop; 16384 pairs make an epoch."""
    return suggest_pan(trial, encoders=encoders, pairs_per_epoch=16384)


def with_proxies(params: dict[str, Scalar]) -> dict[str, Scalar]:
    """The same trial with the ProxyNCA++ encoder in place of the siamese one."""
    return {name: value for name, value in params.items() if name != "projection"} | PROXYNCA


PAPER_SETTING = with_proxies(paper_trial("supervised", 463, gate="XNOR", **{"lambda": 1e-5}))

SPACE = SearchSpace(
    suggest=suggest,
    first_trials=(
        PAPER_SETTING,
        with_proxies(paper_trial("unsupervised", 50)),
        distance_trial("unsupervised", 8, learning_rate=1e-3),
        distance_trial("hybrid", 64, gate="XNOR", **{"lambda": 0.1}, learning_rate=1e-3),
    ),
    paper_setting=PAPER_SETTING,
    num_trials=64,
    max_epochs=20,
    encoders=ENCODERS,
    unsupported={"graph": "a graph is too expensive there, and its queries have no neighbours"},
)
