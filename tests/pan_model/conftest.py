"""Items with planted attributes and clusters, and configurations to train on them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pan_model.config import TrialConfig
from pan_model.data.featured import FeaturedItems
from pan_model.data.splits import Split
from pan_model.tasks.few_shot import FewShotTask

NUM_CLASSES = 24
NUM_ATTRIBUTES = 8
NEVER_CERTAIN = 3
ITEMS_PER_CLASS = (7, 12, 24)
FLAT = {
    "encoder": "siamese",
    "supervision": "unsupervised",
    "num_conditions": 6,
    "learning_rate": 1e-2,
    "pairs": "fresh",
    "pairs_per_epoch": 256,
    "batch_size": 64,
    "max_epochs": 4,
    "seed": 0,
}


@pytest.fixture(scope="session")
def planted() -> Callable[..., FeaturedItems]:
    """Make items whose first features are the attributes' bits and whose others are the class's cluster, with noise.

    Every class has its own bits, which one item in eight has differently; one attribute is never certain. The arrays
    are read-only, as those that processes share are; `change` gets them before that.
    """

    def make(seed: int = 0, change: Callable[[dict[str, Any]], None] = lambda _: None) -> FeaturedItems:
        generator = np.random.default_rng(seed)
        classes = np.repeat(np.arange(NUM_CLASSES), np.resize(ITEMS_PER_CLASS, NUM_CLASSES))
        bits = generator.random((NUM_CLASSES, NUM_ATTRIBUTES)) < 0.5
        attributes = bits[classes] ^ (generator.random((len(classes), NUM_ATTRIBUTES)) < 0.125)
        certain = generator.random(attributes.shape) < 0.8
        certain[:, NEVER_CERTAIN] = False
        clusters = generator.normal(size=(NUM_CLASSES, NUM_ATTRIBUTES))[classes]
        features = np.concatenate([2.0 * attributes - 1, clusters], axis=1)
        arrays: dict[str, Any] = {
            "features": (3 + features + 0.25 * generator.normal(size=features.shape)).astype(np.float32),
            "classes": classes,
            "attributes": attributes,
            "certain": certain,
        }
        change(arrays)
        splits = {
            Split.TRAIN: np.flatnonzero(classes % 2 == 0),
            Split.VAL: np.flatnonzero(classes % 4 == 1),
            Split.TEST: np.flatnonzero(classes % 4 == 3),
        }
        for array in [*arrays.values(), *splits.values()]:
            array.flags.writeable = False
        return FeaturedItems(**arrays, attribute_names=tuple(f"a{a}" for a in range(NUM_ATTRIBUTES)), splits=splits)

    return make


@pytest.fixture(scope="session")
def featured(planted: Callable[..., FeaturedItems]) -> FeaturedItems:
    return planted()


@pytest.fixture(scope="session")
def task(featured: FeaturedItems) -> FewShotTask:
    return FewShotTask(featured, seed=0)


@pytest.fixture(scope="session")
def configure() -> Callable[..., TrialConfig]:
    """Make a configuration from what differs from a small siamese one without labels; `lambda_` stands for lambda."""

    def make(**changes: Any) -> TrialConfig:
        if changes.get("encoder") == "proxynca":
            changes = {"embedding_dim": 8} | changes
        return TrialConfig.from_flat(FLAT | {key.removesuffix("_"): value for key, value in changes.items()})

    return make
