import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pan_model.errors import BadInput
from pan_model.pairs import PairsConfig, draw_negatives, draw_pairs, same_class_pairs

labels = st.lists(st.integers(0, 4), min_size=2, max_size=14).map(np.array)


@given(classes=labels)
def test_same_class_pairs_are_all_of_them_once(classes: np.ndarray):
    n = len(classes)
    expected = {(i, j) for i in range(n) for j in range(i + 1, n) if classes[i] == classes[j]}
    listed = [tuple(pair) for pair in same_class_pairs(classes).T.tolist()]
    assert len(listed) == len(expected)
    assert set(listed) == expected


def test_no_items_make_no_pairs():
    assert same_class_pairs(np.empty(0, dtype=np.int64)).shape == (2, 0)


@given(classes=labels, num_pairs=st.sampled_from([0, 2, 3, 6, 1000]), seed=st.integers(0, 9))
def test_half_of_an_epoch_are_distinct_positives_and_half_negatives(classes: np.ndarray, num_pairs: int, seed: int):
    positives = same_class_pairs(classes)
    available = positives.shape[1]
    expected = available // 2 if num_pairs == 0 else min(num_pairs // 2, available)
    assume(expected > 0)
    assume(len(set(classes.tolist())) > 1)
    pairs = draw_pairs(positives, classes, num_pairs, np.random.default_rng(seed))
    assert len(pairs.index_1) == len(pairs.index_2) == len(pairs.same) == 2 * expected
    assert pairs.same.sum() == expected
    assert ((classes[pairs.index_1] == classes[pairs.index_2]) == pairs.same).all()
    assert (pairs.index_1 != pairs.index_2).all()
    drawn = [frozenset(pair) for pair in zip(pairs.index_1[pairs.same], pairs.index_2[pairs.same], strict=True)]
    assert len(set(drawn)) == expected


def test_positives_and_negatives_come_in_mixed_order():
    classes = np.repeat(np.arange(4), 10)
    same = draw_pairs(same_class_pairs(classes), classes, 200, np.random.default_rng(0)).same
    assert 20 < same[:100].sum() < 80


def test_negatives_are_uniform_over_all_pairs_of_different_classes():
    classes = np.array([0, 0, 0, 1, 1, 2])
    allowed = [(i, j) for i in range(6) for j in range(6) if classes[i] != classes[j]]
    drawn = draw_negatives(classes, 22000, np.random.default_rng(0))
    counts = dict.fromkeys(allowed, 0)
    for pair in zip(*drawn.tolist(), strict=True):
        counts[pair] += 1
    expected = 22000 / len(allowed)
    assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in counts.values())


def test_pairs_repeat_with_the_generator_s_seed_and_differ_without():
    classes = np.repeat(np.arange(4), 10)
    positives = same_class_pairs(classes)

    def draw(seed: int) -> list[list[int]]:
        return [part.tolist() for part in draw_pairs(positives, classes, 50, np.random.default_rng(seed))]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_training_on_one_class_is_refused():
    classes = np.zeros(5, dtype=np.int64)
    with pytest.raises(BadInput, match="training needs items of at least 2 classes"):
        draw_pairs(same_class_pairs(classes), classes, 4, np.random.default_rng(0))


def test_training_without_two_items_of_a_class_is_refused():
    classes = np.arange(5)
    with pytest.raises(BadInput, match="items of the same class"):
        draw_pairs(same_class_pairs(classes), classes, 4, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pairs_per_epoch": -2}, "pairs_per_epoch must be 0 .* or at least 2, got -2"),
        ({"pairs_per_epoch": 1}, "pairs_per_epoch must be 0 .* or at least 2, got 1"),
        ({"batch_size": -1}, "batch_size must be 0 .* or more, got -1"),
    ],
)
def test_impossible_sizes_are_refused_by_name(values: dict[str, int], message: str):
    with pytest.raises(BadInput, match=message):
        PairsConfig(**values)
