"""Enumerations of the values of flags."""

from enum import StrEnum


class Regime(StrEnum):
    """Whether trials train the backbone.

    Attributes:
        FROZEN: Features are extracted once and shared by all trials.
        FINETUNE: Each trial trains the backbone. It starts from the weights of the extracted features, which the
            baselines use.
    """

    FROZEN = "frozen"
    FINETUNE = "finetune"


class PreprocessingChoice(StrEnum):
    """How images are resized, cropped and normalised.

    Attributes:
        OWN: As the backbone's published weights are evaluated, or as timm configures the model.
        IMAGENET: The usual transform of ImageNet, for any backbone.
    """

    OWN = "own"
    IMAGENET = "imagenet"


class Scheduler(StrEnum):
    """How trials are stopped early.

    Attributes:
        ASHA: At each rung, the weaker trials stop.
        PAIRED: A trial stops when question by question it is too far behind the best completed trial to catch up.
        TOP_K: After the first epoch only the best K trials continue.
        NONE: Each trial is trained to its last epoch.
    """

    ASHA = "asha"
    PAIRED = "paired"
    TOP_K = "top-k"
    NONE = "none"


class Sampler(StrEnum):
    """How parameters are suggested.

    Attributes:
        TPE: Optuna's tree-structured Parzen estimator.
        TPE_GROUPED: The same, with a joint model of each group of parameters that occur together.
        PRIOR: Around the first trials and the best trials so far.
        RANDOM: Anywhere in the space; does not learn.
    """

    TPE = "tpe"
    TPE_GROUPED = "tpe-grouped"
    PRIOR = "prior"
    RANDOM = "random"


class Executor(StrEnum):
    """Where trials run: `ray` on Ray, `serial` one after another in this process."""

    RAY = "ray"
    SERIAL = "serial"


BASELINES = (
    "nearest_class_mean",
    "centred_l2",
    "lda",
    "nearest_class_mean_normalised",
    "reranked",
    "logistic_regression",
    "siamese_distance",
    "attributes_only",
    "proxy_anchor",
    "set_transformer",
    "paper_setting",
)
"""The names of all baselines, in the order of tables. A dataset has those that suit its task."""

BASELINES_OF_0_1 = ("nearest_class_mean", "nearest_class_mean_normalised", "siamese_distance", "paper_setting")
"""The baselines of studies whose study.json does not name them."""
