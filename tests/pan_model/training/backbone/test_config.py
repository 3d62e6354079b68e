"""The rules of a backbone's training, and the defaults of each kind."""

from dataclasses import replace
from typing import Any

import pytest

from pan_model.errors import UserError
from pan_model.training.backbone.config import BackboneTraining, BackboneTrainingConfig, default_training

SIAMESE = default_training(BackboneTraining.SIAMESE)
PROXYNCA = default_training(BackboneTraining.PROXYNCA)


def test_defaults_are_the_published_ones() -> None:
    assert (SIAMESE.epochs, SIAMESE.batch_size, SIAMESE.learning_rate, SIAMESE.margin) == (200, 96, 1e-3, 0.2)
    assert (PROXYNCA.classes_per_batch, PROXYNCA.images_per_class, PROXYNCA.warm_up_epochs) == (8, 4, 5)
    assert PROXYNCA.temperature == 1 / 9
    assert SIAMESE.augmentation is not None


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (
            SIAMESE,
            {"kind": BackboneTraining.NONE},
            "kind must be siamese or proxynca where a backbone is trained, got no",
        ),
        (SIAMESE, {"epochs": 0}, r"epochs must be at least 1, got 0\."),
        (SIAMESE, {"batch_size": 0}, r"batch_size must be at least 1, got 0\."),
        (SIAMESE, {"learning_rate": 0.0}, r"learning_rate must be a finite number above 0, got 0\.0\."),
        (SIAMESE, {"margin": float("nan")}, r"margin must be a finite number above 0, got nan\."),
        (SIAMESE, {"warm_up_epochs": 1}, r"warm_up_epochs must be 0 with siamese, .* got 1\."),
        (SIAMESE, {"images_at_once": 3}, r"images_at_once must be 0 \(a whole step\) or at least 4, got 3\."),
        (SIAMESE, {"images_at_once": -1}, r"images_at_once must be 0 \(a whole step\) or at least 4, got -1\."),
        (SIAMESE, {"seed": -1}, r"seed must be at least 0 and below 2\*\*63, got -1\."),
        (PROXYNCA, {"temperature": 0.0}, r"temperature must be a finite number above 0, got 0\.0\."),
        (PROXYNCA, {"embedding_dim": 0}, r"embedding_dim must be at least 1, got 0\."),
        (PROXYNCA, {"warm_up_epochs": 50}, r"warm_up_epochs must be at least 0 and below epochs, 50, got 50\."),
        (PROXYNCA, {"batch_size": 30}, r"multiple of images_per_class, at least twice it; got 30 and 4\."),
        (PROXYNCA, {"batch_size": 4}, r"multiple of images_per_class, at least twice it; got 4 and 4\."),
    ],
)
def test_rules(config: BackboneTrainingConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(config, **changes)
