"""A condition planted to equal a label gets its name; conditions that have nothing to do with attributes get none."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.gates import Gate
from pan_model.model.pan import Pan
from pan_model.scoring.followed import PairLabelling, find_followed, masked_correlation

NUM_CLASSES, ITEMS_PER_CLASS, NUM_NOISE = 40, 12, 12
NAMES = ("has_colour::red", "has_colour::blue", "has_colour::green", "large", "rare", "unlabelled")
WIDTH = len(NAMES)


@pytest.fixture(scope="module")
def coloured() -> FeaturedItems:
    """Items of 40 classes with a colour each; their features are their attributes, then noise of class and item."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(NUM_CLASSES), ITEMS_PER_CLASS)
    attributes = np.zeros((len(classes), WIDTH), dtype=bool)
    attributes[np.arange(len(classes)), generator.integers(0, 3, NUM_CLASSES)[classes]] = True
    attributes[:, 3] = generator.random(len(classes)) < 0.5
    attributes[:3, 4] = True  # too few pairs share it
    attributes[:, 5] = attributes[:, 3]
    certain = generator.random(attributes.shape) < 0.8
    certain[:, 5] = False
    noise = generator.normal(size=(NUM_CLASSES, NUM_NOISE))[classes] + generator.normal(size=(len(classes), NUM_NOISE))
    return FeaturedItems(
        features=np.concatenate([attributes, noise], axis=1).astype(np.float32),
        classes=classes,
        attributes=attributes,
        certain=certain,
        attribute_names=NAMES,
        splits={split: np.arange(len(classes)) for split in Split},
    )


def linear(weights: list[list[float]], bias: list[float], flat: dict[str, Any]) -> Pan:
    """Make a model whose similarities are sigmoid(bias + weights |x1 - x2|) of features as they are."""
    config = TrialConfig.from_flat(flat | {"num_conditions": len(weights), "normalisation": "none"})
    names = tuple(f"unsupervised_{number}" for number in range(1, len(weights) + 1))
    model = Pan(config.model, feature_dim=WIDTH + NUM_NOISE, num_classes=NUM_CLASSES, condition_names=names)
    with torch.no_grad():
        model.similarity.similarity.weight.copy_(torch.tensor(weights))
        model.similarity.similarity.bias.copy_(torch.tensor(bias))
    return model


def of(place: int, weight: float) -> list[float]:
    return [weight if place == feature else 0.0 for feature in range(WIDTH + NUM_NOISE)]


@pytest.fixture
def flat() -> dict[str, Any]:
    return {
        "encoder": "siamese",
        "supervision": "unsupervised",
        "learning_rate": 1e-2,
        "pairs": "fresh",
        "pairs_per_epoch": 256,
        "steps_per_epoch": 4,
        "max_epochs": 4,
        "seed": 0,
    }


def follow(model: Pan, items: FeaturedItems, gate: Gate | None = None, most: int | None = None) -> dict[str, str]:
    embed = torch.from_numpy(items.features)
    chosen = np.arange(len(items.classes) if most is None else most)
    found = find_followed(model, lambda some: model.embed(embed[some]), items, chosen, gate)
    return {name: followed.attribute for name, followed in found.items()}


def test_planted_conditions_are_named_after_their_labels(coloured: FeaturedItems, flat: dict[str, Any]):
    colour = [-9.0] * 3 + [0.0] * (WIDTH + NUM_NOISE - 3)
    rows = [of(3, -9.0), of(3, 9.0), colour, of(WIDTH, -9.0), of(0, 0.0)]
    model = linear(rows, [4.5, -4.5, 4.5, 4.5, 1.0], flat)
    assert follow(model, coloured) == {
        "unsupervised_1": "XNOR(large)",
        "unsupervised_2": "XOR(large)",
        "unsupervised_3": "same has_colour",
    }
    found = find_followed(model, lambda some: torch.from_numpy(coloured.features[some]), coloured, np.arange(480), None)
    assert all(followed.strength > 0.97 for followed in found.values())


def test_shared_presence_and_the_model_s_own_gate_are_tried(coloured: FeaturedItems, flat: dict[str, Any]):
    apart = replace(coloured, features=coloured.features.copy())
    apart.features[:, 3] = 30.0 * coloured.attributes[:, 3]
    model = linear([of(3, 0.5), of(3, -0.5)], [-4.0, 4.0], flat | {"joint": "product"})
    assert follow(model, apart, Gate.NAND) == {"unsupervised_1": "AND(large)", "unsupervised_2": "NAND(large)"}
    assert PairLabelling(("large",), Gate.NAND).names == PairLabelling(("large",), None).names
    assert PairLabelling(("large",), Gate.OR).names == ["XNOR(large)", "AND(large)", "OR(large)"]


def test_chance_names_no_condition(coloured: FeaturedItems, flat: dict[str, Any]):
    generator = np.random.default_rng(1)
    bits = generator.random((NUM_CLASSES, 200)) < 0.3  # of classes, as the noise is
    many = replace(
        coloured,
        attributes=bits[coloured.classes],
        certain=np.ones((len(coloured.classes), 200), dtype=bool),
        attribute_names=tuple(f"a{number}" for number in range(200)),
    )
    model = linear([of(WIDTH + number, -3.0) for number in range(NUM_NOISE)], [3.0] * NUM_NOISE, flat)
    assert follow(model, many) == {}


def test_few_classes_and_data_without_attributes_give_no_names(coloured: FeaturedItems, flat: dict[str, Any]):
    model = linear([of(3, -9.0)], [4.5], flat)
    assert follow(model, coloured, most=12 * ITEMS_PER_CLASS) == {"unsupervised_1": "XNOR(large)"}
    assert follow(model, coloured, most=10 * ITEMS_PER_CLASS) == {}
    assert follow(model, coloured, most=1) == {}
    none = np.zeros((len(coloured.classes), 0), dtype=bool)
    assert follow(model, replace(coloured, attributes=none, certain=none, attribute_names=())) == {}


def test_labelled_conditions_are_measured_on_their_own_label(coloured: FeaturedItems, flat: dict[str, Any]):
    model = linear([of(3, 9.0), of(3, -9.0), of(WIDTH, 1.0)], [-4.5, 4.5, 0.0], flat)
    model.condition_names = ("XOR(large)", "XOR(has_colour::red)", "XOR(rare)")
    items = torch.from_numpy(coloured.features)
    found = find_followed(model, lambda some: items[some], coloured, np.arange(480), Gate.XOR)
    assert {name: followed.attribute for name, followed in found.items()} == {name: name for name in found}
    assert found["XOR(large)"].strength > 0.97
    assert abs(found["XOR(has_colour::red)"].strength) < 0.1
    assert "XOR(rare)" not in found


def test_the_correlation_is_that_of_the_certain_pairs():
    generator = np.random.default_rng(0)
    s, labels = generator.random((300, 3)).astype(np.float32), generator.random((300, 4)) < 0.4
    s[:, 2] *= 1e-3
    certain = generator.random((300, 4)) < 0.7
    got = masked_correlation(torch.tensor(s), torch.tensor(labels), torch.tensor(certain)).correlation.numpy()
    slow = [
        [np.corrcoef(s[certain[:, label], row], labels[certain[:, label], label])[0, 1] for label in range(4)]
        for row in range(3)
    ]
    np.testing.assert_allclose(got, slow, atol=1e-4)
