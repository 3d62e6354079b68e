"""The search space that all datasets share: PAN's own parameters and its training recipe, define-by-run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from optuna.trial import BaseTrial

Scalar = str | int | float | bool


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """The search space of one dataset, and the default size of a study on it.

    Attributes:
        suggest: Maps an Optuna trial to the flat configuration of a trial, without `max_epochs` and `seed`. Takes the
            encoders to choose from as the keyword `encoders`.
        first_trials: Parameters of the trials that run before any suggestion: the paper's own settings, then recipes
            that start from a distance on untrained features.
        paper_setting: The paper's supervised setting on the dataset, which is also a baseline.
        num_trials: Default number of trials.
        max_epochs: Default number of epochs of a full trial.
        paper_epochs: Epochs of `paper_setting` in the paper.
        encoders: Encoders that are searched by default.
        more_encoders: Encoders that are searched on request only.
        more_first_trials: First trials of `more_encoders`.
        unsupported: For every other encoder, the reason why the dataset does not support it.
        unrestricted: The space before it was restricted; None if it was not.
        chosen_ends: Ends of ranges, "low" or "high", by parameter, that a restriction chose although the model accepts
            values beyond them.
        left_out: Why first trials were left out, by their number, counted from 1 with those left out.
    """

    suggest: Callable[..., dict[str, Scalar]]
    first_trials: tuple[dict[str, Scalar], ...]
    paper_setting: dict[str, Scalar]
    num_trials: int
    max_epochs: int
    paper_epochs: int = 100
    encoders: tuple[str, ...] = ()
    more_encoders: tuple[str, ...] = ()
    more_first_trials: tuple[dict[str, Scalar], ...] = ()
    unsupported: Mapping[str, str] = field(default_factory=dict[str, str])
    unrestricted: "SearchSpace | None" = None
    chosen_ends: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    left_out: Mapping[int, str] = field(default_factory=dict[int, str])

    @property
    def supported(self) -> tuple[str, ...]:
        """All encoders that can be searched, the default ones first."""
        return self.encoders + self.more_encoders

    def among(self, encoders: Sequence[str]) -> "SearchSpace":
        """Return the space restricted to some of the supported encoders.

        The order of `encoders` does not matter. First trials of other encoders are left out.
        """
        chosen = tuple(name for name in self.supported if name in encoders)
        if chosen == self.encoders:
            return self
        return replace(
            self,
            suggest=SuggestAmong(self.suggest, chosen),
            first_trials=tuple(
                trial for trial in (*self.first_trials, *self.more_first_trials) if trial["encoder"] in chosen
            ),
            encoders=chosen,
            more_encoders=tuple(name for name in self.supported if name not in chosen),
            more_first_trials=(),
        )


@dataclass(frozen=True)
class SuggestAmong:
    """Suggest from a space with a fixed choice of encoders."""

    suggest: Callable[..., dict[str, Scalar]]
    encoders: tuple[str, ...]

    def __call__(self, trial: BaseTrial, encoders: Sequence[str] | None = None) -> dict[str, Scalar]:
        """Suggest the configuration of a trial; `encoders` restricts the encoders further."""
        return self.suggest(trial, encoders=self.encoders if encoders is None else encoders)


SUPERVISIONS = ("unsupervised", "hybrid", "supervised")
GATES = ("AND", "OR", "XOR", "XNOR", "NOR", "NAND", "AND_XOR")
JOINTS = ("absdiff", "product", "concat")
NORMALISATIONS = ("whiten", "standardise", "l2", "none")
FIRST_WEIGHTS = ("distance", "xavier")
GRAPH_WIDTHS = (100, 200, 350)
FEATURE_POWERS = (1.0, 0.5)
SCORINGS = ("support_mean", "log_odds", "pair_mean")
FITTED_SCORINGS = ("mixture", "embedding_classifier", "condition_classifier", "adapted_relevance")
"""Ways to score that are fitted to the sets of a question. They need classes with several items in a question."""

FEW_SHOT_SCORINGS = (*SCORINGS, *FITTED_SCORINGS)
RETRIEVAL_SCORINGS = ("mixture", "log_odds", "pair_mean")
"""Ways to score a gallery, whose sets have one item each.

Log-odds rank as the paper's pair_mean does, and without ties where p rounds to 1. The others are log_odds there.
"""

PROJECTIONS = ("residual", "none")
LABELLED_PROJECTIONS = ("residual", "attributes", "none")
"""Projections of the siamese encoder, for images with attributes also one that starts from predictions of them."""

PAIRS = ("balanced", "fresh", "fixed")
CLASSES_PER_STEP = (4, 8, 16, 32)
IMAGES_PER_CLASS = (2, 4, 8)
HARD_PAIR_SHARES = (1.0, 0.5, 0.25)
STEPS_PER_EPOCH = (1, 4, 16)
WEIGHT_DECAYS = (0.0, 1e-2, 1e-1, 1.0)
START_DECAYS = (0.0, 0.1, 1.0, 10.0)
PATIENCES = (3, 6, 12)

OPEN_ENDS = {
    "learning_rate": ("low", "high"),
    "lambda": ("low", "high"),
    "num_conditions": ("high",),
    "whitening_shrinkage": ("low",),
    "positive_weight": ("low", "high"),
    "dropout": ("high",),
    "feature_dropout": ("high",),
    "condition_dropout": ("high",),
    "temperature": ("low", "high"),
    "proxy_learning_rate_factor": ("low", "high"),
    "proxy_loss_weight": ("low", "high"),
    "classifier_c": ("low", "high"),
    "graph_layers": ("high",),
    "layer_dropout": ("high",),
    "support_dropout": ("high",),
    "edge_dropout": ("high",),
}
"""Ends of ranges that could have been chosen wider. A best value at an open end suggests to search beyond it, and the
summary warns. The other ends are limits of the parameter itself, and lists of choices have no ends."""


def suggest_pan(
    trial: BaseTrial,
    *,
    encoders: Sequence[str],
    pairs_per_epoch: int,
    pairs: Sequence[str] = PAIRS,
    supervisions: Sequence[str] = SUPERVISIONS,
    scorings: Sequence[str] = SCORINGS,
    projections: Sequence[str] = PROJECTIONS,
) -> dict[str, Scalar]:
    """Suggest PAN's parameters and its training recipe. Parameters that depend on a choice are suggested after it.

    Args:
        trial: The Optuna trial to suggest from.
        encoders: Encoders to choose from.
        pairs_per_epoch: Upper bound on the pairs of an epoch. It is the same for every trial of a dataset, whatever the
            number of steps, so that epochs of different trials can be compared.
        pairs: Ways to draw training pairs that the dataset supports.
        supervisions: Kinds of supervision that the dataset supports.
        scorings: Ways to score a query and a set that the dataset's questions support.
        projections: Projections of the siamese encoder to choose from.

    Returns:
        The flat configuration of the trial, without `max_epochs` and `seed`.
    """
    supervision = trial.suggest_categorical("supervision", supervisions)
    encoder = trial.suggest_categorical("encoder", encoders)
    config: dict[str, Scalar] = {
        "encoder": encoder,
        "supervision": supervision,
        "num_conditions": trial.suggest_int("num_conditions", 1, 512, log=True),
        **_suggest_scoring(trial, scorings),
        **_suggest_start(trial, keeps_distances=encoder != "graph"),
        **_suggest_pairs(trial, pairs, pairs_per_epoch),
        **_suggest_training(trial),
    }
    if supervision != "unsupervised":
        config["gate"] = trial.suggest_categorical("gate", GATES)
        config["lambda"] = trial.suggest_float("lambda", 1e-5, 10.0, log=True)
    return config | _suggest_encoder(trial, encoder, projections)


def _suggest_scoring(trial: BaseTrial, scorings: Sequence[str]) -> dict[str, Scalar]:
    """Suggest how a query is scored against a set. A mixture without a classifier among the choices fits nothing."""
    config: dict[str, Scalar] = {"scoring": trial.suggest_categorical("scoring", scorings)}
    if config["scoring"] in FITTED_SCORINGS and "embedding_classifier" in scorings:
        config["classifier_c"] = trial.suggest_float("classifier_c", 0.1, 100.0, log=True)
    if config["scoring"] == "mixture":
        config["mixture_weight"] = trial.suggest_float("mixture_weight", 0.0, 1.0)
    return config


def _suggest_encoder(trial: BaseTrial, encoder: str, projections: Sequence[str]) -> dict[str, Scalar]:
    """Suggest the parameters that only this encoder has."""
    if encoder == "siamese":
        config: dict[str, Scalar] = {"projection": trial.suggest_categorical("projection", projections)}
        if config["projection"] == "attributes":
            config["attribute_share"] = trial.suggest_float("attribute_share", 0.0, 0.9)
        return config
    if encoder == "proxynca":
        return {
            "embedding_dim": trial.suggest_categorical("embedding_dim", (128, 256, 512, 1024)),
            "temperature": trial.suggest_float("temperature", 0.03, 1.0, log=True),
            "proxy_learning_rate_factor": trial.suggest_float("proxy_learning_rate_factor", 1.0, 1000.0, log=True),
            "proxy_loss_weight": trial.suggest_float("proxy_loss_weight", 0.01, 10.0, log=True),
        }
    return {
        "graph_layers": trial.suggest_int("graph_layers", 1, 3),
        "graph_width": trial.suggest_categorical("graph_width", GRAPH_WIDTHS),
        "layer_dropout": trial.suggest_float("layer_dropout", 0.0, 0.7),
        "support_dropout": trial.suggest_float("support_dropout", 0.0, 0.5),
        "edge_dropout": trial.suggest_float("edge_dropout", 0.0, 0.5),
    }


def _suggest_start(trial: BaseTrial, *, keeps_distances: bool) -> dict[str, Scalar]:
    """Suggest where training starts: normalisation of features, joint representation and initial weights.

    Args:
        trial: The Optuna trial to suggest from.
        keeps_distances: Whether the encoder's initial embedding preserves distances of the features, which the initial
            weights `distance` require.
    """
    config: dict[str, Scalar] = {
        "normalisation": trial.suggest_categorical("normalisation", NORMALISATIONS),
        "feature_power": trial.suggest_categorical("feature_power", FEATURE_POWERS),
        "joint": trial.suggest_categorical("joint", JOINTS),
    }
    if config["normalisation"] == "whiten":
        config["whitening_shrinkage"] = trial.suggest_float("whitening_shrinkage", 0.1, 1.0)
    can_start_as_distance = keeps_distances and config["joint"] != "concat"
    config["first_weights"] = (
        trial.suggest_categorical("first_weights", FIRST_WEIGHTS) if can_start_as_distance else "xavier"
    )
    return config


def _suggest_pairs(trial: BaseTrial, pairs: Sequence[str], pairs_per_epoch: int) -> dict[str, Scalar]:
    """Suggest how training pairs are drawn and weighted."""
    config: dict[str, Scalar] = {
        "pairs": trial.suggest_categorical("pairs", pairs),
        "pairs_per_epoch": pairs_per_epoch,
        "steps_per_epoch": trial.suggest_categorical("steps_per_epoch", STEPS_PER_EPOCH),
        "positive_weight": trial.suggest_float("positive_weight", 0.1, 0.9),
        "hard_pair_share": trial.suggest_categorical("hard_pair_share", HARD_PAIR_SHARES),
    }
    if config["pairs"] == "balanced":
        config["classes_per_step"] = trial.suggest_categorical("classes_per_step", CLASSES_PER_STEP)
        config["images_per_class"] = trial.suggest_categorical("images_per_class", IMAGES_PER_CLASS)
    return config


def _suggest_training(trial: BaseTrial) -> dict[str, Scalar]:
    """Suggest the optimiser's parameters and the regularisation."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "schedule": trial.suggest_categorical("schedule", ("constant", "cosine")),
        "weight_decay": trial.suggest_categorical("weight_decay", WEIGHT_DECAYS),
        "start_decay": trial.suggest_categorical("start_decay", START_DECAYS),
        "dropout": trial.suggest_float("dropout", 0.0, 0.7),
        "feature_dropout": trial.suggest_float("feature_dropout", 0.0, 0.5),
        "condition_dropout": trial.suggest_float("condition_dropout", 0.0, 0.5),
        "patience": trial.suggest_categorical("patience", PATIENCES),
    }


def paper_trial(
    supervision: str, num_conditions: int, *, lambda_: float | None = None, **overrides: Scalar
) -> dict[str, Scalar]:
    """Return the parameters of one of the paper's settings.

    The recipe is that of the paper's reference code: standardised features, fixed pairs, full batch, Adam with learning
    rate 1e-3, |h1 - h2|, no dropout. In a study the trial has the study's epochs and pairs per epoch, and ends after 12
    epochs without improvement. With `pairs_per_epoch` 0 (half of all same-class pairs, one negative each) and
    `max_epochs` 100 it is the reference code's run on CUB, which keeps the best epoch on val.

    Args:
        supervision: `unsupervised`, `hybrid` or `supervised`.
        num_conditions: Number of similarity conditions.
        lambda_: Weight of the attribute loss; None for unsupervised trials.
        **overrides: Further parameters, such as `gate`, and parameters to change.
    """
    return {
        "encoder": "siamese",
        "projection": "none",
        "supervision": supervision,
        "num_conditions": num_conditions,
        "scoring": "pair_mean",
        "normalisation": "standardise",
        "feature_power": 1.0,
        "joint": "absdiff",
        "first_weights": "xavier",
        "pairs": "fixed",
        "steps_per_epoch": 1,
        "positive_weight": 0.5,
        "hard_pair_share": 1.0,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "weight_decay": 0.0,
        "start_decay": 0.0,
        "dropout": 0.0,
        "feature_dropout": 0.0,
        "condition_dropout": 0.0,
        "patience": 12,
        **overrides,
        **({} if lambda_ is None else {"lambda": lambda_}),
    }


def distance_trial(
    supervision: str, num_conditions: int, *, lambda_: float | None = None, **overrides: Scalar
) -> dict[str, Scalar]:
    """Return the parameters of a recipe that starts as nearest class mean on whitened features.

    It trains with a low learning rate on class-balanced batches, unless `overrides` says otherwise, and ends after 6
    epochs without improvement on val. The paper's recipe overfits from this start.

    Args:
        supervision: `unsupervised`, `hybrid` or `supervised`.
        num_conditions: Number of similarity conditions.
        lambda_: Weight of the attribute loss; None for unsupervised trials.
        **overrides: Further parameters, such as `gate`, and parameters to change.
    """
    trial = {
        **paper_trial(supervision, num_conditions),
        "projection": "residual",
        "scoring": "support_mean",
        "normalisation": "whiten",
        "whitening_shrinkage": 0.8,
        "feature_power": 0.5,
        "joint": "product",
        "first_weights": "distance",
        "pairs": "balanced",
        "classes_per_step": 16,
        "images_per_class": 4,
        "steps_per_epoch": 4,
        "learning_rate": 1e-4,
        "patience": 6,
        **overrides,
        **({} if lambda_ is None else {"lambda": lambda_}),
    }
    if trial["pairs"] != "balanced":
        del trial["classes_per_step"], trial["images_per_class"]
    return trial


def mixture_trial(
    supervision: str, num_conditions: int, *, lambda_: float | None = None, **overrides: Scalar
) -> dict[str, Scalar]:
    """Return the parameters of `distance_trial` with sets scored by a mixture of a classifier and support_mean.

    Args:
        supervision: `unsupervised`, `hybrid` or `supervised`.
        num_conditions: Number of similarity conditions.
        lambda_: Weight of the attribute loss; None for unsupervised trials.
        **overrides: Further parameters, such as `gate`, and parameters to change.
    """
    mixture: dict[str, Scalar] = {"scoring": "mixture", "classifier_c": 3.0, "mixture_weight": 0.5}
    return distance_trial(supervision, num_conditions, lambda_=lambda_, **{**mixture, **overrides})


def for_retrieval(space: SearchSpace) -> SearchSpace:
    """Return the space for `--task retrieval`: only the ways to score differ, also those of the first trials.

    Args:
        space: A space whose `suggest` takes the ways to score as the keyword `scorings`.
    """
    return replace(
        space,
        suggest=partial(space.suggest, scorings=RETRIEVAL_SCORINGS),
        first_trials=tuple(_score_gallery(trial) for trial in space.first_trials),
        more_first_trials=tuple(_score_gallery(trial) for trial in space.more_first_trials),
    )


def _score_gallery(trial: dict[str, Scalar]) -> dict[str, Scalar]:
    """Return the parameters of a first trial with a way to score that is searched for a gallery."""
    params = {name: value for name, value in trial.items() if name != "classifier_c"}
    return params if params["scoring"] in RETRIEVAL_SCORINGS else params | {"scoring": "log_odds"}


def with_graph(params: dict[str, Scalar], *, layers: int, width: int, edge_dropout: float) -> dict[str, Scalar]:
    """Return the parameters with the siamese encoder replaced by a graph encoder.

    The initial weights of a graph encoder are always Xavier's, so `first_weights` is removed.

    Args:
        params: Parameters of a trial with the siamese encoder.
        layers: Number of graph layers.
        width: Width of each layer.
        edge_dropout: Dropout of edges. The other dropouts are those of the paper.
    """
    return {name: value for name, value in params.items() if name not in {"projection", "first_weights"}} | {
        "encoder": "graph",
        "graph_layers": layers,
        "graph_width": width,
        "layer_dropout": 0.5,
        "support_dropout": 0.15,
        "edge_dropout": edge_dropout,
    }


GRAPH_BASELINE = with_graph(paper_trial("unsupervised", 1), layers=3, width=350, edge_dropout=0.0)
"""The graph baseline of PAN's reference code on CUB. Edges are same-class training pairs. With one condition, PAN is
a plain pairwise decoder."""
