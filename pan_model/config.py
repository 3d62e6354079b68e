"""A trial's configuration: nested dataclasses for code, flat scalars in files and searches.

In the import order this module belongs to `training`: it combines the configurations of the model, the pairs and the
optimiser, and `training.trainer` takes the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pan_model.errors import UserError
from pan_model.flat import Scalar, keys_of, read_flat, write_flat
from pan_model.model.conditions import ConditionsConfig
from pan_model.model.encoders.encoder import EncoderConfig, encoder_name, find_encoder
from pan_model.model.encoders.graph import GraphConfig
from pan_model.model.normalisation import NormalisationConfig
from pan_model.model.pan import PanConfig, ScoringConfig
from pan_model.model.similarity import SimilarityConfig
from pan_model.tasks.pairs import PairsConfig
from pan_model.training.finetuning import FinetuneConfig
from pan_model.training.optimisation import TrainConfig

_COMPONENTS = (ConditionsConfig, NormalisationConfig, SimilarityConfig, ScoringConfig, PairsConfig, TrainConfig)


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that a trial's results depend on, besides the data and their features.

    `finetune` is set if, and only if, the trial trains its backbone; only then are its keys in the flat configuration.
    """

    encoder: EncoderConfig
    conditions: ConditionsConfig
    normalisation: NormalisationConfig
    similarity: SimilarityConfig
    scoring: ScoringConfig
    pairs: PairsConfig
    train: TrainConfig
    finetune: FinetuneConfig | None = None

    def __post_init__(self) -> None:
        if self.finetune is not None and isinstance(self.encoder, GraphConfig):
            raise UserError(
                "a backbone is trained with pairs; encoder graph needs the features of all training items in every "
                "step. Choose another encoder, or leave out the keys that begin with backbone_."
            )

    @property
    def model(self) -> PanConfig:
        """The configuration of the model alone."""
        return PanConfig(
            encoder=self.encoder,
            normalisation=self.normalisation,
            similarity=self.similarity,
            scoring=self.scoring,
            num_conditions=self.conditions.num_conditions,
            feature_dropout=self.train.feature_dropout,
        )

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> "TrialConfig":
        """Read a configuration of flat scalars, as in best_config.json.

        Raises:
            UserError: A key is unknown or missing, or its value is invalid.
        """
        name = values.get("encoder")
        encoder = find_encoder(name)
        known = {
            "encoder",
            *keys_of(encoder),
            *(key for kind in (*_COMPONENTS, FinetuneConfig) for key in keys_of(kind)),
        }
        if unknown := sorted(set(values) - known):
            choices = ", ".join(sorted(known))
            raise UserError(
                f"unknown key '{unknown[0]}' in a configuration with encoder {name}; choose from {choices}."
            )
        return cls(
            encoder=read_flat(encoder, values),
            conditions=read_flat(ConditionsConfig, values),
            normalisation=read_flat(NormalisationConfig, values),
            similarity=read_flat(SimilarityConfig, values),
            scoring=read_flat(ScoringConfig, values),
            pairs=read_flat(PairsConfig, values),
            train=read_flat(TrainConfig, values),
            finetune=read_flat(FinetuneConfig, values)
            if any(key in values for key in keys_of(FinetuneConfig))
            else None,
        )

    def to_flat(self) -> dict[str, Scalar]:
        """Return the configuration as flat scalars; `from_flat` reads it back."""
        flat: dict[str, Scalar] = {"encoder": encoder_name(self.encoder)}
        for component in (
            self.encoder,
            self.conditions,
            self.normalisation,
            self.similarity,
            self.scoring,
            self.pairs,
            self.train,
            *([self.finetune] if self.finetune else []),
        ):
            flat |= write_flat(component)
        return flat
