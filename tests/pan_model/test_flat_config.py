import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from pan_model.config import TrialConfig
from pan_model.errors import UserError
from pan_model.flat import key_of, keys_of, read_flat, write_flat
from pan_model.model.conditions import ConditionsConfig
from pan_model.model.encoders.proxynca import ProxyNCAConfig
from pan_model.model.encoders.siamese import Projection, SiameseConfig
from pan_model.model.gates import Gate
from pan_model.model.normalisation import NormalisationConfig
from pan_model.model.pan import ScoringConfig
from pan_model.model.similarity import SimilarityConfig
from pan_model.tasks.pairs import PairsConfig
from pan_model.training.finetuning import FinetuneConfig
from pan_model.training.optimisation import TrainConfig
from search_spaces import SPACES
from search_spaces.pan import Scalar


class DrawnTrial(FixedTrial):
    """Suggests what hypothesis draws, the ends of every range included."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__({})
        self.data = data

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.data.draw(st.sampled_from(choices), name)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return self.data.draw(st.floats(low, high), name)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return self.data.draw(st.integers(low, high), name)


@pytest.mark.parametrize("dataset", SPACES)
@given(data=st.data(), max_epochs=st.integers(1, 10**6), seed=st.integers(0, 2**31))
def test_whatever_a_space_suggests_survives_config_and_json(
    dataset: str, data: st.DataObject, max_epochs: int, seed: int
):
    flat = SPACES[dataset].suggest(DrawnTrial(data)) | {"max_epochs": max_epochs, "seed": seed}
    config = TrialConfig.from_flat(flat)
    assert config.to_flat() == flat
    assert json.loads(json.dumps(config.to_flat())) == flat
    assert TrialConfig.from_flat(json.loads(json.dumps(config.to_flat()))) == config


FULL: dict[str, Scalar] = {
    "encoder": "proxynca",
    "embedding_dim": 32,
    "temperature": 0.5,
    "proxy_learning_rate_factor": 20,
    "proxy_loss_weight": 2.0,
    "supervision": "hybrid",
    "num_conditions": 7,
    "gate": "AND_XOR",
    "lambda": 0.25,
    "normalisation": "whiten",
    "whitening_shrinkage": 0.375,
    "feature_power": 0.4375,
    "joint": "product",
    "first_weights": "distance",
    "dropout": 0.125,
    "condition_dropout": 0.1875,
    "precision": "bfloat16",
    "scoring": "mixture",
    "classifier_c": 1.75,
    "mixture_weight": 0.6875,
    "pairs": "balanced",
    "pairs_per_epoch": 77,
    "steps_per_epoch": 5,
    "classes_per_step": 6,
    "images_per_class": 3,
    "positive_weight": 0.625,
    "hard_pair_share": 0.875,
    "learning_rate": 0.3,
    "schedule": "cosine",
    "weight_decay": 0.75,
    "start_decay": 10,
    "feature_dropout": 0.0625,
    "patience": 4,
    "max_epochs": 9,
    "seed": 8,
    "backbone_learning_rate": 0.015625,
    "backbone_warmup_epochs": 12,
    "crop_scale_min": 0.3125,
}
"""A value of its own for every key of a configuration with proxies that trains its backbone."""


def test_flat_keys_reach_the_fields_they_name():
    config = TrialConfig.from_flat(FULL)
    components = [getattr(config, field.name) for field in fields(config)]
    reached = {key_of(field.name): getattr(part, field.name) for part in components for field in fields(part)}
    assert reached == {key: value for key, value in FULL.items() if key != "encoder"} | {"schedule_epochs": None}
    assert [type(part) for part in components] == [
        ProxyNCAConfig,
        *(ConditionsConfig, NormalisationConfig, SimilarityConfig, ScoringConfig, PairsConfig, TrainConfig),
        FinetuneConfig,
    ]
    # whole numbers are read as what the field holds
    assert [type(reached[key]) for key in ("start_decay", "proxy_learning_rate_factor", "patience")] == [
        float,
        float,
        int,
    ]


def test_the_siamese_encoder_s_projection_is_read_from_its_key():
    config = TrialConfig.from_flat(MINIMAL | {"projection": "residual"})
    assert config.encoder == SiameseConfig(projection=Projection.RESIDUAL)


MINIMAL = {"encoder": "siamese", "supervision": "unsupervised", "num_conditions": 3, "max_epochs": 2, "seed": 1}


FINETUNE = {"backbone_learning_rate": 1e-4, "backbone_warmup_epochs": 0}


def test_a_backbone_s_keys_are_there_when_it_is_trained_and_only_then():
    frozen, learned = TrialConfig.from_flat(MINIMAL), TrialConfig.from_flat(MINIMAL | FINETUNE)
    assert frozen.finetune is None
    assert learned.finetune == FinetuneConfig(backbone_learning_rate=1e-4, backbone_warmup_epochs=0)
    assert learned.to_flat() == frozen.to_flat() | FINETUNE | {"crop_scale_min": 0.08}
    assert TrialConfig.from_flat(learned.to_flat()) == learned


def test_what_is_left_out_has_the_written_defaults():
    flat = TrialConfig.from_flat(MINIMAL).to_flat()
    nothing = ("dropout", "condition_dropout", "feature_dropout", "weight_decay", "start_decay")
    assert flat == MINIMAL | dict.fromkeys(nothing, 0.0) | {
        "projection": "none",
        "normalisation": "standardise",
        "feature_power": 1.0,
        "joint": "absdiff",
        "first_weights": "xavier",
        "scoring": "pair_mean",
        "pairs": "fresh",
        "pairs_per_epoch": 8192,
        "steps_per_epoch": 16,
        "positive_weight": 0.5,
        "hard_pair_share": 1.0,
        "schedule": "constant",
        "learning_rate": 1e-3,
        "patience": 0,
    }
    assert TrialConfig.from_flat(MINIMAL).encoder == SiameseConfig()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": []}, r"encoder must be one of siamese, proxynca, graph, got \[\]"),
        ({"encoder": "resnet"}, "encoder must be one of siamese, proxynca, graph, got 'resnet'"),
        ({"encoder": "proxynca", "embedding_dim": 0}, "embedding_dim must be at least 1, got 0"),
        ({"encoder": "proxynca"}, "the configuration lacks embedding_dim\\."),
        ({"encoder": "proxynca", "embedding_dim": 4, "temperature": 0}, "temperature must be a finite number above 0"),
        (
            {"encoder": "proxynca", "embedding_dim": 4, "proxy_learning_rate_factor": -1.0},
            "proxy_learning_rate_factor must be a finite number above 0, got -1.0",
        ),
        (
            {"encoder": "proxynca", "embedding_dim": 4, "proxy_loss_weight": float("inf")},
            "proxy_loss_weight must be a finite number of at least 0, got inf",
        ),
        (
            {"embedding_dim": 4},
            "unknown key 'embedding_dim' in a configuration with encoder siamese; choose from .*classes_per_step",
        ),
        ({"batch_size": 64}, "unknown key 'batch_size'"),
        (
            {"encoder": "proxynca", "embedding_dim": 4, "projection": "none"},
            "unknown key 'projection' in a configuration with encoder proxynca; choose from .*embedding_dim",
        ),
        ({"lambda_": 1.0}, "unknown key 'lambda_'"),
        ({"supervision": "full"}, "supervision must be one of unsupervised, hybrid, supervised, got 'full'"),
        ({"supervision": "hybrid", "gate": "NOT", "lambda": 1.0}, "gate must be one of AND, OR, .*AND_XOR, got 'NOT'"),
        ({"supervision": "hybrid", "gate": "OR", "lambda": "1"}, "lambda must be of type float, got '1'"),
        ({"gate": None}, "gate must be one of .*, got None"),
        ({"num_conditions": 3.0}, "num_conditions must be of type int, got 3.0"),
        ({"num_conditions": True}, "num_conditions must be of type int, got True"),
        ({"dropout": False}, "dropout must be of type float, got False"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number above 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number above 0, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be a finite number of at least 0, got -0.1"),
        ({"projection": "full"}, "projection must be one of none, residual, attributes, got 'full'"),
        ({"normalisation": "zca"}, "normalisation must be one of none, standardise, l2, whiten, got 'zca'"),
        ({"normalisation": "whiten"}, "whitening_shrinkage must be given when, and only when"),
        ({"whitening_shrinkage": 0.5}, "whitening_shrinkage must be given when, and only when"),
        ({"joint": "concat", "first_weights": "distance"}, "first_weights distance needs a symmetric joint"),
        ({"first_weights": "zero"}, "first_weights must be one of xavier, distance, got 'zero'"),
        ({"scoring": "max"}, "scoring must be one of pair_mean, log_odds, support_mean, .*, mixture, got 'max'"),
        ({"schedule": "step"}, "schedule must be one of constant, cosine, got 'step'"),
        ({"pairs": "all"}, "pairs must be one of fixed, fresh, balanced, got 'all'"),
        ({"pairs": "balanced"}, "classes_per_step must be given when, and only when, pairs are balanced"),
        ({"classes_per_step": 4}, "classes_per_step must be given when, and only when, pairs are balanced"),
        ({"positive_weight": 1.0}, "positive_weight must lie between 0 and 1, got 1.0"),
        ({"patience": 2.0}, "patience must be of type int, got 2.0"),
        ({"backbone_learning_rate": 1e-4}, r"the configuration lacks backbone_warmup_epochs\."),
        ({"backbone_warmup_epochs": 1}, r"the configuration lacks backbone_learning_rate\."),
        ({"crop_scale_min": 0.5}, r"the configuration lacks backbone_learning_rate, backbone_warmup_epochs\."),
        (FINETUNE | {"backbone_learning_rate": 0.0}, "backbone_learning_rate must be a finite number above 0, got 0.0"),
        (FINETUNE | {"backbone_learning_rate": float("inf")}, "backbone_learning_rate must be a finite .*, got inf"),
        (FINETUNE | {"backbone_warmup_epochs": -1}, "backbone_warmup_epochs must be 0 or more, got -1"),
        (FINETUNE | {"crop_scale_min": 0.0}, "crop_scale_min must be above 0 and at most 1, got 0.0"),
        (FINETUNE | {"encoder": "graph"}, "a backbone is trained with pairs; encoder graph needs .*another encoder"),
        ({"max_epochs": 0}, "max_epochs must be at least 1, got 0"),
        ({"seed": -1}, "seed must .*, got -1"),
        ({"seed": 2**64}, "seed must .*, got 18446744073709551616"),
    ],
)
def test_impossible_configurations_are_refused_by_name(changes: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        TrialConfig.from_flat(MINIMAL | changes)


@pytest.mark.parametrize("key", MINIMAL)
def test_a_missing_key_is_named_and_none_that_has_a_default(key: str):
    values = {name: value for name, value in MINIMAL.items() if name != key}
    message = "encoder must be one of" if key == "encoder" else rf"the configuration lacks {key}\."
    with pytest.raises(UserError, match=message):
        TrialConfig.from_flat(values)


@dataclass(frozen=True, kw_only=True)
class Component:
    class_: str
    gate: Gate | None = None
    on: bool = False
    size: int = 4


def test_components_are_read_and_written_by_their_flat_keys():
    assert (key_of("class_"), keys_of(Component)) == ("class", ["class", "gate", "on", "size"])
    component = read_flat(Component, {"class": "bird", "gate": "OR", "on": True, "another": 3})
    assert component == Component(class_="bird", gate=Gate.OR, on=True)
    written = write_flat(component)
    assert written == {"class": "bird", "gate": "OR", "on": True, "size": 4}
    assert type(written["gate"]) is str
    assert write_flat(Component(class_="bird")) == {"class": "bird", "on": False, "size": 4}


def test_a_number_is_no_truth_value():
    with pytest.raises(UserError, match="on must be of type bool, got 1"):
        read_flat(Component, {"class": "bird", "on": 1})
