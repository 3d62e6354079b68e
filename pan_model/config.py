"""A trial's whole configuration, nested for the code and flat for everybody else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pan_model.conditions import ConditionsConfig
from pan_model.encoders import ENCODERS, EncoderConfig, encoder_name
from pan_model.errors import BadInput
from pan_model.flat import Scalar, keys_of, read_flat, write_flat
from pan_model.normalisation import NormalisationKind
from pan_model.pairs import PairsConfig
from pan_model.similarity import SimilarityConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the weights are found: Adam with decoupled weight decay, for at most max_epochs epochs, from a seed."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    normalisation: NormalisationKind = NormalisationKind.STANDARDISE
    max_epochs: int
    seed: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise BadInput(f"learning_rate must be a finite number above 0, got {self.learning_rate}.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise BadInput(f"weight_decay must be a finite number of at least 0, got {self.weight_decay}.")
        if self.max_epochs < 1:
            raise BadInput(f"max_epochs must be at least 1, got {self.max_epochs}.")
        if not 0 <= self.seed < 2**63:
            raise BadInput(f"seed must be at least 0 and below 2**63, got {self.seed}.")


_COMPONENTS = (ConditionsConfig, SimilarityConfig, PairsConfig, TrainConfig)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that a trial's numbers depend on, beside the data and their features."""

    encoder: EncoderConfig
    conditions: ConditionsConfig
    similarity: SimilarityConfig
    pairs: PairsConfig
    train: TrainConfig

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "TrialConfig":
        """Read a configuration of flat scalars, as in best_config.json.

        Raises BadInput for unknown, missing and impossible values, naming the key.
        """
        name = values.get("encoder")
        if not isinstance(name, str) or name not in ENCODERS:
            raise BadInput(f"encoder must be one of {', '.join(ENCODERS)}, got {name!r}.")
        encoder = ENCODERS[name]
        known = {"encoder", *keys_of(encoder), *(key for kind in _COMPONENTS for key in keys_of(kind))}
        if unknown := sorted(set(values) - known):
            choices = ", ".join(sorted(known))
            raise BadInput(f"unknown key '{unknown[0]}' in a configuration with encoder {name}; choose from {choices}.")
        return cls(
            encoder=read_flat(encoder, values),
            conditions=read_flat(ConditionsConfig, values),
            similarity=read_flat(SimilarityConfig, values),
            pairs=read_flat(PairsConfig, values),
            train=read_flat(TrainConfig, values),
        )

    def to_flat(self) -> dict[str, Scalar]:
        """Write the configuration as flat scalars, from which `from_flat` makes an equal one."""
        flat: dict[str, Scalar] = {"encoder": encoder_name(self.encoder)}
        for component in (self.encoder, self.conditions, self.similarity, self.pairs, self.train):
            flat |= write_flat(component)
        return flat
