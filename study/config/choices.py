"""Closed choices of a study: the values that a flag may have."""

from enum import StrEnum


class Regime(StrEnum):
    """Whether backbones are trained in trials or before them.

    frozen: backbone features are extracted once and shared by all trials. finetune: each trial trains the backbone.
    A finetune trial starts from the same features, which the baselines use as well.
    """

    FROZEN = "frozen"
    FINETUNE = "finetune"


class Scheduler(StrEnum):
    """asha stops weak trials early; none trains each trial to its last epoch."""

    ASHA = "asha"
    NONE = "none"


class Sampler(StrEnum):
    """tpe learns from finished trials; random does not."""

    TPE = "tpe"
    RANDOM = "random"


class Executor(StrEnum):
    """Where trials run: on Ray, or one after another in this process."""

    RAY = "ray"
    SERIAL = "serial"
