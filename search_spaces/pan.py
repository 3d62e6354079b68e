"""What every dataset's space has in common: PAN's own parameters, suggested define-by-run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optuna.trial import BaseTrial

Scalar = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What a study of one dataset tries, and how much of it by default.

    suggest gives a trial's flat configuration, less max_epochs and seed; first_trials holds values for what suggest
    asks, tried before anything else: the paper's own settings.
    """

    suggest: Callable[[BaseTrial], dict[str, Scalar]]
    first_trials: tuple[dict[str, Scalar], ...]
    num_trials: int
    max_epochs: int


SUPERVISIONS = ("unsupervised", "hybrid", "supervised")
GATES = ("AND", "OR", "XOR", "XNOR", "NOR", "NAND", "AND_XOR")
JOINTS = ("absdiff", "product", "concat")
NORMALISATIONS = ("standardise", "l2", "none")
PAIRS = ("fresh", "fixed")
BATCH_SIZES = (0, 256, 1024)
WEIGHT_DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)


def suggest_pan(trial: BaseTrial, *, encoders: Sequence[str], pairs_per_epoch: int) -> dict[str, Scalar]:
    """Suggest PAN's parameters; gate and lambda only where conditions have labels, proxies only for proxynca.

    An epoch has the same number of pairs in every trial, so that epochs can be compared.
    """
    supervision = trial.suggest_categorical("supervision", SUPERVISIONS)
    config: dict[str, Scalar] = {
        "encoder": trial.suggest_categorical("encoder", encoders),
        "supervision": supervision,
        "num_conditions": trial.suggest_int("num_conditions", 1, 512, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.7),
        "joint": trial.suggest_categorical("joint", JOINTS),
        "normalisation": trial.suggest_categorical("normalisation", NORMALISATIONS),
        "weight_decay": trial.suggest_categorical("weight_decay", WEIGHT_DECAYS),
        "pairs": trial.suggest_categorical("pairs", PAIRS),
        "pairs_per_epoch": pairs_per_epoch,
        "batch_size": trial.suggest_categorical("batch_size", BATCH_SIZES),
    }
    if supervision != "unsupervised":
        config["gate"] = trial.suggest_categorical("gate", GATES)
        config["lambda"] = trial.suggest_float("lambda", 1e-5, 10.0, log=True)
    if config["encoder"] == "proxynca":
        config["embedding_dim"] = trial.suggest_categorical("embedding_dim", (128, 256, 512, 1024))
        config["temperature"] = trial.suggest_float("temperature", 0.03, 1.0, log=True)
        config["proxy_learning_rate_factor"] = trial.suggest_float("proxy_learning_rate_factor", 1.0, 1000.0, log=True)
        config["proxy_loss_weight"] = trial.suggest_float("proxy_loss_weight", 0.01, 10.0, log=True)
    return config


def paper_trial(supervision: str, num_conditions: int, **labelled: Scalar) -> dict[str, Scalar]:
    """One of the paper's settings: standardised features, fixed pairs, full batch, Adam 1e-3, |h1 - h2|, no dropout.

    In a study it has the study's epochs and pairs an epoch; with pairs_per_epoch 0 (half of all same-class pairs, one
    negative each) and max_epochs 100 it is the reference code's own run on CUB.
    """
    return {
        "encoder": "siamese",
        "supervision": supervision,
        "num_conditions": num_conditions,
        "learning_rate": 1e-3,
        "dropout": 0.0,
        "joint": "absdiff",
        "normalisation": "standardise",
        "weight_decay": 0.0,
        "pairs": "fixed",
        "batch_size": 0,
        **labelled,
    }
